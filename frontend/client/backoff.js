/** Milliseconds: the first wait is at most this long, and it doubles with each attempt. */
export const FIRST = 500;

/** Milliseconds: no wait is longer. */
export const LONGEST = 30_000;

/** Milliseconds: no wait is longer while a person looks at the page and its network works. */
export const LONGEST_SEEN = 5_000;

/** Waits before attempts, with "full jitter", so that clients that were cut off at once come back spread. */
export class Backoff {
  /** Attempts since a connection last worked. */
  attempts = 0;

  #random;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  /** Counts an attempt, and returns the milliseconds to wait before it: at most `longest`. */
  next(longest = LONGEST) {
    return this.#random() * Math.min(longest, FIRST * 2 ** this.attempts++);
  }

  reset() {
    this.attempts = 0;
  }
}
