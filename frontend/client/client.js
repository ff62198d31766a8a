import { addressOf } from './address.js';
import { Backoff } from './backoff.js';
import { frame, wrap } from './envelope.js';
import { uniqueName } from './environment.js';
import { SwitchboardError } from './errors.js';
import { Handlers } from './handlers.js';
import { Instance } from './instance.js';
import { Link } from './link.js';
import { Listeners } from './listeners.js';
import { Outbox } from './outbox.js';
import { Position } from './position.js';
import { Requests, refusal } from './requests.js';
import { askSession } from './session.js';
import { Shelf } from './shelf.js';
import { Stream } from './stream.js';
import { Token } from './token.js';

/** Milliseconds that an answer may take; that of a disk may take longer. */
const TIMEOUT = 10_000;
const STORE_TIMEOUT = 30_000;

/**
 * Errors that do not name what they answer when the server did not read so far. They may be the answer
 * to anything that is open, so nothing waits on.
 */
const UNNAMED = ['parse_error', 'rate_limited'];

/** @typedef {import('./requests.js').Message} Message */
/** @typedef {import('./connection.js').Connection} Connection */
/** @typedef {import('./envelope.js').Target} Target */

/** @typedef {{ delivered: number[], epoch: string, offset: number, duplicate?: true }} Stored */

/** What createClient gives; docs/client.md explains it. */
export class Client {
  /** @type {number | null} */
  deviceId = null;

  /** @type {string | null} */
  connectionId = null;

  /** @type {string | null} */
  serverVersion = null;

  /** @type {number | null} what the server takes */
  maxMessageBytes = null;

  #connections = 0;

  #url;
  #token;
  #resume;
  #environment;
  #listeners;
  #handlers = new Handlers();
  #requests;
  #instance;
  #position;
  #outbox;
  #stream;
  #link;

  /**
   * @param {import('./index.js').Options} options
   * @param {import('./environment.js').Environment} environment
   */
  constructor({ url, token, name = 'switchboard', resume }, environment) {
    this.#environment = environment;
    this.#url = (url ?? environment.origin ?? '').replace(/\/+$/, '');
    this.#resume = resume;
    this.#listeners = new Listeners(environment.reportError);
    const key = `${name} ${this.#url} `;
    const report = (/** @type {unknown} */ error) => this.#emit('error', error);
    const shelf = (/** @type {string} */ what) =>
      new Shelf(environment.storage, key + what, report);
    this.#requests = new Requests(environment);
    this.#token = new Token(environment, token, {
      refresh: (next) => this.#refresh(next),
      none: () => this.#link.leave(),
      error: report,
    });
    this.#position = new Position(shelf('position'));
    this.#outbox = new Outbox(environment, shelf('outbox'), {
      ask: (body) => this.#ask('device.send', body, STORE_TIMEOUT),
      changed: (change) => this.#emit('outbox', change),
      held: report,
    });
    const disown = () => this.#outbox.disown();
    this.#instance = new Instance(environment, key, shelf('instance'), disown);
    this.#stream = new Stream(environment, this.#position, this.#handlers, {
      emit: (name, ...details) => this.#emit(name, ...details),
      reached: (live) => this.#link.reached(live),
    });
    this.#link = new Link(environment, this.#linkHooks(report));
  }

  get status() {
    return this.#link.status;
  }

  get statusDetail() {
    return this.#link.detail;
  }

  /** How often it has connected again. */
  get reconnects() {
    return Math.max(0, this.#connections - 1);
  }

  get instance() {
    return this.#instance.name;
  }

  get position() {
    const { epoch, offset } = this.#position;
    return epoch === undefined ? null : { epoch, offset };
  }

  /** How many offsets there are to catch up with. */
  get lag() {
    return this.#stream.lag;
  }

  get outboxSize() {
    return this.#outbox.size;
  }

  /** Connects, and comes back after each loss. While an attempt waits for its time, it is made now. */
  connect() {
    this.#link.connect();
  }

  /**
   * Ends the connection, and comes back no more.
   *
   * @param {{ forget?: boolean }} [options] forget: the user leaves; the position and what waits to
   *   be sent are thrown away
   */
  disconnect({ forget = false } = {}) {
    this.#link.disconnect();
    if (forget) this.#forget();
  }

  /**
   * Without `durable`: whether the message was handed to the socket. With it: a promise of the
   * payload of the server's `ok`.
   *
   * @overload
   * @param {string} type
   * @param {unknown} payload
   * @param {Target & { durable: true, expires?: number }} options expires: milliseconds
   * @returns {Promise<Stored>}
   */
  /**
   * @overload
   * @param {string} type
   * @param {unknown} [payload]
   * @param {Target & { durable?: false }} [options]
   * @returns {boolean}
   */
  /**
   * @param {string} type
   * @param {unknown} [payload]
   * @param {Target & { durable?: boolean, expires?: number }} [options]
   */
  send(type, payload = null, options = {}) {
    if (options.durable) return this.#sendDurable(type, payload, options);
    return this.#write(...wrap(type, payload, options));
  }

  /**
   * Deletes a `latest` value, as a durable message to all devices of the user: a promise of the
   * payload of the server's `ok`.
   *
   * @param {string} type
   * @param {string} key
   * @param {Pick<Target, 'to' | 'messageId'> & { expires?: number }} [options]
   * @returns {Promise<Stored>}
   */
  remove(type, key, options) {
    return this.#sendDurable(type, null, { to: 'user', ...options, key, delete: true });
  }

  /**
   * Resolves to the reply; rejects with a SwitchboardError. While the server is `busy`, it is sent
   * again; the outbox does that by itself.
   *
   * @param {string} type
   * @param {unknown} [payload]
   * @param {Target & { timeout?: number }} [options] timeout: milliseconds
   */
  async request(type, payload = null, options = {}) {
    const backoff = new Backoff(this.#environment.random);
    return this.#ask(...wrap(type, payload, options), options.timeout ?? TIMEOUT, backoff);
  }

  /** Resolves to the milliseconds of a round trip. */
  async ping() {
    const start = this.#environment.now();
    await this.request('ping');
    const took = Math.round(this.#environment.now() - start);
    this.#emit('latency', took);
    return took;
  }

  /**
   * @param {string} prefix
   * @param {import('./handlers.js').Handler} handler
   */
  registerHandler(prefix, handler) {
    return this.#handlers.register(prefix, handler);
  }

  /** @param {string} prefix */
  unregisterHandler(prefix) {
    this.#handlers.unregister(prefix);
  }

  /**
   * @param {string} name `status`, `resume`, `reset`, `message`, `snapshot`, `position`, `goaway`,
   *   `latency`, `outbox` or `error`
   * @param {(...details: any[]) => unknown} listener
   */
  on(name, listener) {
    return this.#listeners.on(name, listener);
  }

  /**
   * @param {string} name
   * @param {...unknown} details
   */
  #emit(name, ...details) {
    return this.#listeners.emit(name, ...details);
  }

  /**
   * @param {(error: unknown) => void} error
   * @returns {import('./link.js').Hooks}
   */
  #linkHooks(error) {
    return {
      address: () => this.#address(),
      refusal: () => askSession(this.#environment, this.#url, () => this.#token.ask()),
      renewable: () => this.#token.renewable,
      message: (connection, message) => this.#receive(connection, message),
      ending: () => this.#ending(),
      forget: () => this.#forget(),
      hidden: () => this.#instance.release(),
      shown: () => this.#outbox.load(),
      ping: () => this.ping().catch(() => {}),
      status: (status, detail) => this.#emit('status', status, detail),
      error,
    };
  }

  async #address() {
    const instance = await this.#instance.claim();
    const token = await this.#token.ask();
    if (!token && this.#token.renewable) return undefined;
    const { epoch, offset } = this.#position;
    const snapshot = this.#stream.snapshotDue;
    return addressOf(this.#url, { instance, epoch, offset, snapshot, resume: this.#resume }, token);
  }

  /** @param {string} token */
  #refresh(token) {
    const backoff = new Backoff(this.#environment.random);
    return this.#ask('token.refresh', JSON.stringify({ token }), TIMEOUT, backoff);
  }

  #ending() {
    this.#stream.finish();
    this.#token.end();
    this.connectionId = null;
    this.#requests.fail(new SwitchboardError('disconnected'));
  }

  /** The user is another one, or none. */
  #forget() {
    this.#position.forget();
    this.#outbox.clear('signed_out');
    this.#stream.snapshotDue = true;
    this.deviceId = null;
  }

  /**
   * @param {Connection} connection
   * @param {Message} message
   */
  #receive(connection, message) {
    const { type, payload } = message;
    if (type === 'connected') this.#connected(connection);
    if (type === 'position' && payload.live) this.#link.proven();
    if (message.reply_to !== undefined) this.#requests.answer(message);
    else if (type === 'goaway') this.#emit('goaway', payload);
    else if (type === 'error') {
      const error = refusal(payload);
      if (UNNAMED.includes(error.code)) this.#requests.blame(error);
      this.#emit('error', error);
    } else this.#stream.take(connection, message);
  }

  /**
   * If somebody else has signed in, what was kept is not theirs; nothing of it was sent yet.
   *
   * @param {Connection} connection
   */
  #connected(connection) {
    const { user_id, device_id, connection_id, server_version } = connection.facts;
    this.maxMessageBytes = connection.facts.max_message_bytes;
    if (!this.#position.belongsTo(`${user_id}/${device_id}`)) {
      this.#forget();
      return this.#link.restart();
    }
    this.deviceId = device_id;
    this.connectionId = connection_id;
    this.serverVersion = server_version;
    this.#connections++;
    this.#token.begin(connection.facts.expires_in);
    this.#link.greeted();
    this.#outbox.resume();
  }

  /**
   * @param {string} type
   * @param {string} body the payload as text
   * @param {string} [id]
   */
  #write(type, body, id) {
    return this.#link.send(frame(type, body, id));
  }

  /**
   * @param {string} type
   * @param {string} body
   * @param {number} timeout
   * @param {Backoff} [backoff]
   */
  #ask(type, body, timeout, backoff) {
    /** @param {string} id */
    const send = (id) => {
      if (!this.#write(type, body, id)) throw new SwitchboardError('not_connected');
    };
    return this.#requests.ask(send, timeout, backoff);
  }

  /**
   * @param {string} type
   * @param {unknown} payload
   * @param {Target & { expires?: number }} options
   */
  async #sendDurable(type, payload, { expires, ...target }) {
    if (target.to === undefined) throw new TypeError('a durable message needs `to`');
    const messageId = target.messageId ?? uniqueName(this.#environment.random);
    const store = target.delete ? 'latest' : 'log';
    const [, body] = wrap(type, payload, { store, ...target, messageId });
    return this.#outbox.add(messageId, body, expires);
  }
}
