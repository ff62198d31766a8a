import { closeOf } from './closes.js';
import { SwitchboardError } from './errors.js';
import { Heartbeat } from './heartbeat.js';

/** Milliseconds from the start of an attempt within which `connected` must come. */
const PATIENCE = 10_000;

/**
 * @typedef {object} Ending how a connection ended by itself
 * @property {number} [code]
 * @property {string} reason
 * @property {boolean} reconnect
 * @property {boolean} [refused] it never opened, and the browser does not say why
 * @property {number} [after] milliseconds to wait at least
 */

/**
 * One attempt to connect, and its socket. It calls its hooks until it has ended and never after, so
 * that a superseded connection changes nothing.
 */
export class Connection {
  over = false;

  /** Whether `connected` has come, so that messages may be sent. */
  ready = false;

  /** @type {any} the payload of `connected` */
  facts;

  /** @type {WebSocket | undefined} */
  #socket;

  /** @type {{ reason: string, reconnect: boolean, after_ms: number } | undefined} */
  #goaway;

  #opened = false;
  #environment;
  #hooks;
  #heartbeat;
  #timer;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {object} hooks
   * @param {(message: import('./requests.js').Message) => void} hooks.message
   * @param {(ending: Ending) => void} hooks.ended
   * @param {() => void} hooks.ping
   * @param {(error: unknown) => void} hooks.error
   */
  constructor(environment, hooks) {
    this.#environment = environment;
    this.#hooks = hooks;
    const lost = () => this.fail('timeout');
    this.#heartbeat = new Heartbeat(environment, { ping: hooks.ping, lost });
    this.#timer = environment.setTimeout(lost, PATIENCE);
  }

  /** @param {string} url @param {string[]} protocols */
  open(url, protocols) {
    const socket = new this.#environment.WebSocket(url, protocols);
    this.#socket = socket;
    socket.onopen = () => {
      this.#opened = true;
    };
    socket.onmessage = ({ data }) => {
      if (!this.over) this.#heard(data);
    };
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  /**
   * Returns whether it handed the text to the socket. Throws `too_large`, since the server would refuse
   * such a text, or close the connection over it, and again over each repeat.
   *
   * @param {string} text
   */
  send(text) {
    if (!this.ready || this.#socket?.readyState !== 1) return false;
    const bytes = new TextEncoder().encode(text).length;
    if (bytes > this.facts.max_message_bytes) throw new SwitchboardError('too_large');
    this.#socket.send(text);
    return true;
  }

  /** Checks whether the server is still there, and gives it up after two seconds without a sign. */
  probe() {
    this.#heartbeat.probe();
  }

  /**
   * Gives the connection up; another may follow.
   *
   * @param {string} reason
   * @param {boolean} [reconnect] false: another would not help
   */
  fail(reason, reconnect = true) {
    this.#end({ reason, reconnect });
  }

  /** Ends the connection without calling a hook. */
  close() {
    this.over = true;
    this.ready = false;
    this.#environment.clearTimeout(this.#timer);
    this.#heartbeat.stop();
    this.#socket?.close(1000);
  }

  /** @param {string} data */
  #heard(data) {
    this.#heartbeat.heard();
    let message;
    try {
      message = JSON.parse(data);
    } catch (error) {
      return this.#hooks.error(error);
    }
    if (message.type === 'connected') {
      this.facts = message.payload;
      this.ready = true;
      this.#environment.clearTimeout(this.#timer);
      this.#heartbeat.start(this.facts.heartbeat_seconds);
    } else if (message.type === 'goaway') this.#goaway = message.payload;
    this.#hooks.message(message);
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.#end({ ...closeOf(code, reason), refused: !this.#opened });
  }

  /**
   * Reports the end; after a `goaway` what that said counts, however the connection ended.
   *
   * @param {Ending} ending
   */
  #end(ending) {
    if (this.over) return;
    this.close();
    const goaway = this.#goaway;
    this.#hooks.ended({
      ...ending,
      ...(goaway && { reason: goaway.reason, after: goaway.after_ms }),
      reconnect: ending.reconnect && goaway?.reconnect !== false,
    });
  }
}
