import { Backoff } from './backoff.js';
import { LONGEST_TIMER } from './environment.js';

/** Part of the time until a token ends, after which the app is asked for the next one. */
const SHARE = 0.8;

/** Milliseconds: a token that ends sooner is not asked for more often than this. */
const SHORTEST = 1000;

/**
 * The app's token. If the app gave a function, it is asked at each attempt, and again before the
 * token of a live connection ends; the server then takes the new one without a break.
 */
export class Token {
  #environment;
  #source;
  #hooks;
  #backoff;

  /** @type {string | undefined} what the server refused last on a live connection */
  #refused;

  /** @type {number | undefined} */
  #timer;

  /** Counts connections: an answer that comes later is not for the next one. */
  #turn = 0;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {import('./index.js').Options['token']} source
   * @param {object} hooks
   * @param {(token: string) => Promise<import('./requests.js').Message>} hooks.refresh gives it to
   *   the server, on the connection that there is
   * @param {() => void} hooks.none the app has no token any more
   * @param {(error: unknown) => void} hooks.error
   */
  constructor(environment, source, hooks) {
    this.#environment = environment;
    this.#source = source;
    this.#hooks = hooks;
    this.#backoff = new Backoff(environment.random);
  }

  /** Whether the app can be asked for another one. */
  get renewable() {
    return typeof this.#source === 'function';
  }

  /** The token for an attempt. Without one, an app that can be asked has nobody signed in. */
  async ask() {
    return typeof this.#source === 'function' ? this.#source() : this.#source;
  }

  /**
   * There is a connection, or a new token on it.
   *
   * @param {number} [expiresIn] seconds until the token ends
   */
  begin(expiresIn) {
    this.end();
    this.#backoff.reset();
    if (!this.renewable || expiresIn === undefined) return;
    this.#wait(Math.max(SHORTEST, expiresIn * SHARE * 1000));
  }

  /** The connection is over. */
  end() {
    this.#turn++;
    this.#environment.clearTimeout(this.#timer);
  }

  /** @param {number} ms */
  #wait(ms) {
    const part = Math.min(ms, LONGEST_TIMER);
    const next = () => (ms > part ? this.#wait(ms - part) : this.#renew());
    this.#timer = this.#environment.setTimeout(next, part);
  }

  /** Until there is another token the connection goes on with the one that it has. */
  async #renew() {
    const turn = this.#turn;
    /** @type {string | undefined} */
    let token;
    try {
      token = await this.ask();
      if (turn !== this.#turn) return;
      if (!token) return this.#hooks.none();
      if (token !== this.#refused) {
        const { payload } = await this.#hooks.refresh(token);
        if (turn === this.#turn) this.begin(payload.expires_in);
        return;
      }
    } catch (error) {
      if (turn !== this.#turn) return;
      if (/** @type {any} */ (error)?.code === 'invalid_token') this.#refused = token;
      this.#hooks.error(error);
    }
    this.#wait(this.#backoff.next());
  }
}
