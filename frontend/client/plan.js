import { Backoff, FIRST, LONGEST, LONGEST_SEEN } from './backoff.js';

/** Plans the next attempt to connect. */
export class Plan {
  #environment;
  #attempt;
  #backoff;

  /** Before this, in milliseconds of the environment's `now`, the server asked not to come back. */
  #notBefore = 0;

  /** When the planned attempt is due, in milliseconds of the environment's `now`. */
  #due = 0;

  /** @type {number | undefined} */
  #timer;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {() => void} attempt
   */
  constructor(environment, attempt) {
    this.#environment = environment;
    this.#attempt = attempt;
    this.#backoff = new Backoff(environment.random);
  }

  get pending() {
    return this.#timer !== undefined;
  }

  /** Attempts since a connection last worked. */
  get attempts() {
    return this.#backoff.attempts;
  }

  /** Forgets the attempts: a connection works, or the user wants to begin anew. */
  reset() {
    this.#backoff.reset();
  }

  /**
   * Plans an attempt. Without a network it counts none, since it would fail; but a browser may be wrong
   * about that, so it makes one now and then.
   *
   * @param {number} after milliseconds at least
   * @param {boolean} [strained] the server has said that it has too much to do: nobody hurries
   * @returns {{ retryAt: number, offline: boolean }} retryAt: milliseconds since 1970
   */
  make(after, strained = false) {
    const { navigator, document } = this.#environment;
    const offline = navigator?.onLine === false;
    const seen = document?.visibilityState === 'visible';
    const longest = seen && !strained ? LONGEST_SEEN : LONGEST;
    const wait = offline ? Math.max(after, LONGEST) : after + this.#backoff.next(longest);
    this.#notBefore = Math.max(this.#notBefore, this.#environment.now() + after);
    return { retryAt: this.#wait(wait), offline };
  }

  /**
   * Makes a planned attempt now; if the server asked to wait, once that is over.
   *
   * @returns {number | undefined} when, in milliseconds since 1970, if that is sooner than planned
   */
  hasten() {
    if (!this.pending) return undefined;
    const { now, random } = this.#environment;
    const left = this.#notBefore - now();
    if (left <= 0) return this.#go();
    const wait = left + random() * FIRST;
    return now() + wait < this.#due ? this.#wait(wait) : undefined;
  }

  cancel() {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {number} ms @returns {number} when that is, in milliseconds since 1970 */
  #wait(ms) {
    this.cancel();
    this.#due = this.#environment.now() + ms;
    this.#timer = this.#environment.setTimeout(() => this.#go(), ms);
    return Math.round(this.#environment.date() + ms);
  }

  /** @returns {undefined} */
  #go() {
    this.cancel();
    this.#attempt();
  }
}
