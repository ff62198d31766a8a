import { Backoff, LONGEST } from './backoff.js';

/** Plans the next attempt to connect. */
export class Plan {
  #environment;
  #attempt;
  #backoff;

  /** Before this, in milliseconds of the environment's `now`, the server asked not to come back. */
  #notBefore = 0;

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
   * @returns {{ retryAt: number, offline: boolean }} retryAt: milliseconds since 1970
   */
  make(after) {
    this.cancel();
    const offline = this.#environment.navigator?.onLine === false;
    const wait = offline ? Math.max(after, LONGEST) : after + this.#backoff.next();
    this.#notBefore = Math.max(this.#notBefore, this.#environment.now() + after);
    this.#timer = this.#environment.setTimeout(() => this.#go(), wait);
    return { retryAt: Math.round(this.#environment.date() + wait), offline };
  }

  /** Makes a planned attempt now, unless the server asked to wait. */
  hasten() {
    if (this.pending && this.#environment.now() >= this.#notBefore) this.#go();
  }

  cancel() {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #go() {
    this.cancel();
    this.#attempt();
  }
}
