import { Backoff, LONGEST } from './backoff.js';

/** When the next attempt is made. */
export class Plan {
  #environment;
  #attempt;
  #backoff;

  /** Milliseconds since 1970: the server asked not to come back earlier. */
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

  /** Attempts since a connection last proved itself. */
  get attempts() {
    return this.#backoff.attempts;
  }

  /** A connection has proved itself, or the user wishes to begin anew. */
  reset() {
    this.#backoff.reset();
  }

  /**
   * An attempt is planned. Without a network none is counted, since it would fail; but a browser may
   * be wrong about that, so one is made now and then.
   *
   * @param {number} after milliseconds at least
   * @returns {{ retryAt: number, offline: boolean }} retryAt: milliseconds since 1970
   */
  make(after) {
    this.cancel();
    const offline = this.#environment.navigator?.onLine === false;
    const now = this.#environment.now();
    const wait = offline ? Math.max(after, LONGEST) : after + this.#backoff.next();
    this.#notBefore = Math.max(this.#notBefore, now + after);
    this.#timer = this.#environment.setTimeout(() => this.#go(), wait);
    return { retryAt: Math.round(now + wait), offline };
  }

  /** What is planned is done now, unless the server asked to wait. */
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
