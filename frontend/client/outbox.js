import { Backoff } from './backoff.js';
import { LONGEST_TIMER } from './environment.js';
import { SwitchboardError } from './errors.js';

/** Answers after which the same message may be sent again; its `message_id` makes that harmless. */
const PASSING = [
  'rate_limited',
  'overloaded',
  'storage_unavailable',
  'internal_error',
  'busy',
  'timed_out',
  'timeout',
  'too_many_ids',
];

/** Milliseconds that a message waits: the server knows its id for as long, at least. */
const EXPIRES = 86_400_000;

/**
 * @typedef {object} Entry
 * @property {string} id its `message_id`
 * @property {string} body the payload of `device.send` as text: a repeat must be the same to the byte
 * @property {number} until when it expires, by the environment's `now`
 * @property {boolean} [lasting] the app did not say how long it may wait
 */

/**
 * @typedef {[resolve: (payload: any) => void, reject: (error: Error) => void]} Waiting a promise of
 *   this page load
 */

/**
 * Durable messages that the server has not answered. They outlive reloads, and go out one after the
 * other: each is repeated, with its `message_id`, until it is answered or expires.
 */
export class Outbox {
  /** @type {Entry[]} */
  #entries = [];

  /** @type {Map<string, Waiting[]>} who waits for which entry */
  #waiting = new Map();

  /** @type {Entry | undefined} on its way at present */
  #sending;

  /** @type {number | undefined} */
  #timer;

  /** @type {number | undefined} until it fires, nothing goes out on this connection */
  #held;

  #environment;
  #shelf;
  #hooks;
  #backoff;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {import('./shelf.js').Shelf} shelf
   * @param {object} hooks
   * @param {(body: string) => Promise<import('./requests.js').Message>} hooks.ask rejects with
   *   `not_connected` or `disconnected` when it must wait for the next connection
   * @param {(change: { size: number, messageId?: string, error?: Error, answer?: unknown }) => void} hooks.changed
   * @param {(error: SwitchboardError) => void} hooks.held the server has said when it takes more
   */
  constructor(environment, shelf, hooks) {
    this.#environment = environment;
    this.#shelf = shelf;
    this.#hooks = hooks;
    this.#backoff = new Backoff(environment.random);
    this.load();
  }

  get size() {
    return this.#entries.length;
  }

  /** What this tab has stored, and is not here already, comes first. */
  load() {
    const known = new Set(this.#entries.map(({ id }) => id));
    /** @type {Entry[]} */
    const stored = this.#shelf.get() ?? [];
    this.#entries.unshift(...stored.filter(({ id }) => !known.has(id)));
    this.#watch();
  }

  /** This tab is a copy: what it found stored is the other one's to send. */
  disown() {
    const size = this.size;
    this.#entries = this.#entries.filter(({ id }) => this.#waiting.has(id));
    if (size > this.size) this.#changed();
  }

  /**
   * Whoever adds what waits here already waits with it. Throws `id_conflict` when the same id is that
   * of another message here.
   *
   * @param {string} id
   * @param {string} body
   * @param {number} [expires] milliseconds from now
   * @returns {Promise<import('./client.js').Stored>} the payload of the `ok`
   */
  add(id, body, expires) {
    const known = this.#entries.find((entry) => entry.id === id);
    const lasting = expires === undefined || undefined;
    const until = this.#environment.now() + (expires ?? EXPIRES);
    if (!known) this.#entries.push({ id, body, until, lasting });
    else if (known.body !== body) throw new SwitchboardError('id_conflict');
    return new Promise((...waiting) => {
      this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), waiting]);
      this.#changed();
      this.#watch();
      this.flush();
    });
  }

  /** Sends what waits, without waiting any longer: this may be another connection, or its time. */
  resume() {
    this.#environment.clearTimeout(this.#held);
    this.#held = undefined;
    this.flush();
  }

  /** Sends the first that waits, if none is on its way; the others follow. */
  async flush() {
    this.#expire();
    const entry = this.#entries[0];
    if (!entry || this.#sending || this.#held !== undefined) return;
    this.#sending = entry;
    try {
      const { payload } = await this.#hooks.ask(entry.body);
      this.#backoff.reset();
      this.#settle(entry, payload);
    } catch (error) {
      this.#refused(entry, /** @type {SwitchboardError} */ (error));
    }
  }

  /**
   * Nothing of this is sent any more; who waits is told.
   *
   * @param {string} code
   */
  clear(code) {
    for (const entry of [...this.#entries]) this.#settle(entry, new SwitchboardError(code), false);
  }

  /** @param {Entry} entry @param {SwitchboardError} error */
  #refused(entry, error) {
    const { code, retryAfter = 0 } = error;
    const lost = code === 'disconnected' || code === 'not_connected';
    if (!lost && !PASSING.includes(code)) return this.#settle(entry, error);
    if (this.#sending === entry) this.#sending = undefined;
    if (!lost) {
      const wait = retryAfter + this.#backoff.next();
      this.#environment.clearTimeout(this.#held);
      this.#held = this.#environment.setTimeout(() => this.resume(), wait);
    }
    if (retryAfter) this.#last(retryAfter, error);
    this.#watch();
  }

  /**
   * The server takes nothing new for a while, and knows none of these ids: their time begins then.
   *
   * @param {number} wait milliseconds
   * @param {SwitchboardError} error
   */
  #last(wait, error) {
    const until = this.#environment.now() + wait + EXPIRES;
    for (const entry of this.#entries) {
      if (entry.lasting) entry.until = Math.max(entry.until, until);
    }
    this.#changed();
    this.#hooks.held(error);
  }

  /** @param {Entry} entry @param {unknown} outcome @param {boolean} [next] */
  #settle(entry, outcome, next = true) {
    const { id } = entry;
    if (this.#sending === entry) this.#sending = undefined;
    if (!this.#entries.includes(entry)) return;
    this.#entries = this.#entries.filter((other) => other !== entry);
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    const error = outcome instanceof Error ? outcome : undefined;
    for (const [resolve, reject] of waiting) {
      if (error) reject(error);
      else resolve(outcome);
    }
    this.#changed(id, error ? { error } : { answer: outcome });
    if (next) this.flush();
  }

  /** What is on its way has until its answer. */
  #expire() {
    const now = this.#environment.now();
    for (const entry of this.#entries) {
      if (entry.until <= now && entry !== this.#sending) {
        this.#settle(entry, new SwitchboardError('expired'), false);
      }
    }
    this.#watch();
  }

  /** Looks again when the next one expires, whether or not there is a connection. */
  #watch() {
    this.#environment.clearTimeout(this.#timer);
    const waiting = this.#entries.filter((entry) => entry !== this.#sending);
    if (!waiting.length) return;
    const next = Math.min(...waiting.map(({ until }) => until));
    const wait = Math.max(0, Math.min(next - this.#environment.now(), LONGEST_TIMER));
    this.#timer = this.#environment.setTimeout(() => this.#expire(), wait);
  }

  /** @param {string} [messageId] @param {{ error?: Error, answer?: unknown }} [outcome] */
  #changed(messageId, outcome) {
    this.#shelf.put(this.#entries.length ? this.#entries : undefined);
    this.#hooks.changed({ size: this.size, ...(messageId && { messageId, ...outcome }) });
  }
}
