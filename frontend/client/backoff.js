/** Milliseconds: the first wait is at most this long, and it doubles with each attempt. */
const FIRST = 500;

/** Milliseconds: no wait is longer. */
export const LONGEST = 30_000;

/** Waits before attempts, with "full jitter", so that clients that were cut off at once come back spread. */
export class Backoff {
  /** Attempts since a connection last worked. */
  attempts = 0;

  #random;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  /** Counts an attempt, and returns the milliseconds to wait before it. */
  next() {
    return this.#random() * Math.min(LONGEST, FIRST * 2 ** this.attempts++);
  }

  reset() {
    this.attempts = 0;
  }
}
