/** Milliseconds: the first wait is at most this long, and it doubles with each attempt. */
const FIRST = 500;

/** Milliseconds: no wait is longer. */
export const LONGEST = 30_000;

/** How long to wait before the next attempt: "full jitter", so that those cut off at once spread. */
export class Backoff {
  /** Attempts since a connection has last proven itself. */
  attempts = 0;

  #random;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  /** Counts an attempt; returns the milliseconds to wait for it. */
  next() {
    return this.#random() * Math.min(LONGEST, FIRST * 2 ** this.attempts++);
  }

  reset() {
    this.attempts = 0;
  }
}
