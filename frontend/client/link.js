import { isForgotten, isSignedOut, isStrained } from './closes.js';
import { Connection } from './connection.js';
import { Plan } from './plan.js';
import { watchPage } from './wake.js';

/** @typedef {'disconnected' | 'connecting' | 'catching-up' | 'connected' | 'signed-out'} Status */
/** @typedef {import('./connection.js').Ending} Ending */

/**
 * @typedef {object} StatusDetail
 * @property {number} attempts since a connection last proved itself
 * @property {string} [reason] why there is no connection
 * @property {number} [code] of the close
 * @property {number} [retryAt] milliseconds since 1970, when another attempt is planned
 */

/**
 * @typedef {object} Hooks
 * @property {() => Promise<[url: string, protocols: string[]] | undefined>} address where to connect
 *   this time; nowhere if the app has no token
 * @property {() => boolean} renewable whether an expired session is one more loss, since the app has
 *   a new token
 * @property {() => Promise<Ending>} refusal why an upgrade was refused
 * @property {(connection: Connection, message: import('./requests.js').Message) => void} message
 * @property {() => void} ending the connection is about to go, or gone
 * @property {() => void} forget nothing of the session may be left
 * @property {() => void} hidden the page goes away, perhaps to come back
 * @property {() => void} shown it has come back
 * @property {() => void} ping
 * @property {(status: Status, detail: StatusDetail) => void} status
 * @property {(error: unknown) => void} error
 */

/** Keeps one connection open, from `connect` until `disconnect` or a refusal of the server. */
export class Link {
  /** @type {Status} */
  status = 'disconnected';

  /** @type {StatusDetail} */
  detail = { attempts: 0 };

  /** @type {Connection | undefined} the attempt or connection; over while the session is asked */
  #connection;

  #hidden = false;
  #environment;
  #hooks;
  #plan;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {Hooks} hooks
   */
  constructor(environment, hooks) {
    this.#environment = environment;
    this.#hooks = hooks;
    this.#plan = new Plan(environment, () => this.#begin());
    watchPage(environment, {
      wake: () => this.#wake(),
      offline: () => this.#offline(),
      hide: () => this.#hide(),
      show: () => this.#show(),
    });
  }

  connect() {
    if (!this.#connection) this.#begin();
  }

  disconnect() {
    this.#end();
    this.#plan.reset();
    this.#become('disconnected');
  }

  /** What the server told at the start was not meant for this user: another connection is made. */
  restart() {
    this.#end();
    this.#begin();
  }

  /**
   * Returns whether it handed the text to a socket. Throws `too_large`.
   *
   * @param {string} text
   */
  send(text) {
    return this.#connection?.send(text) ?? false;
  }

  /** The app has no token any more. */
  leave() {
    this.#connection?.fail('no_token', false);
  }

  /** The server has told who we are. */
  greeted() {
    this.#become('catching-up');
  }

  /** Notes that the connection works, so that the next loss counts as the first. */
  proven() {
    this.#plan.reset();
  }

  /**
   * Notes that everything up to a `position` was handled.
   *
   * @param {boolean} live
   */
  reached(live) {
    const status = live ? 'connected' : 'catching-up';
    if (status !== this.status) this.#become(status);
  }

  /**
   * @param {Status} status
   * @param {Partial<StatusDetail>} [detail]
   */
  #become(status, detail) {
    this.status = status;
    this.detail = { ...detail, attempts: this.#plan.attempts };
    this.#hooks.status(status, this.detail);
  }

  async #begin() {
    this.#plan.cancel();
    const connection = new Connection(this.#environment, {
      message: (message) => this.#hooks.message(connection, message),
      ended: (ending) => this.#ended(connection, ending),
      ping: this.#hooks.ping,
      error: this.#hooks.error,
    });
    this.#connection = connection;
    this.#become('connecting');
    try {
      const address = await this.#hooks.address();
      if (!address) connection.fail('no_token', false);
      else if (!connection.over) connection.open(...address);
    } catch (error) {
      this.#hooks.error(error);
      connection.fail('failed');
    }
  }

  /** Ends the connection, or the plan for one. */
  #end() {
    this.#plan.cancel();
    this.#hooks.ending();
    this.#connection?.close();
    this.#connection = undefined;
  }

  /**
   * @param {Connection} connection
   * @param {Ending} ending
   */
  async #ended(connection, ending) {
    this.#hooks.ending();
    const verdict = ending.refused ? await this.#hooks.refusal() : ending;
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    const expired = verdict.reason === 'session_expired';
    if (verdict.reconnect || (expired && this.#hooks.renewable())) this.#planNext(verdict);
    else this.#stop(verdict);
  }

  /** @param {Ending} ending */
  #stop({ reason, code }) {
    if (isForgotten(reason)) this.#hooks.forget();
    this.#become(isSignedOut(reason) ? 'signed-out' : 'disconnected', { reason, code });
  }

  /** @param {Ending} ending */
  #planNext({ reason, code, after = 0 }) {
    const { retryAt, offline } = this.#plan.make(after, isStrained(reason));
    this.#become('disconnected', { reason: offline ? 'offline' : reason, code, retryAt });
  }

  /** The page may have slept: checks the connection, or makes a planned attempt now. */
  #wake() {
    this.#connection?.probe();
    const retryAt = this.#plan.hasten();
    if (!retryAt) return;
    const { reason, code } = this.detail;
    this.#become('disconnected', { reason: reason === 'offline' ? 'lost' : reason, code, retryAt });
  }

  #offline() {
    this.#connection?.probe();
    if (this.#plan.pending) this.#planNext({ reason: 'offline', reconnect: true });
  }

  #hide() {
    this.#hidden = !!this.#connection || this.#plan.pending;
    this.#end();
    this.#hooks.hidden();
    if (this.#hidden) this.#become('disconnected', { reason: 'hidden' });
  }

  #show() {
    this.#hooks.shown();
    if (this.#hidden) this.connect();
    this.#hidden = false;
  }
}
