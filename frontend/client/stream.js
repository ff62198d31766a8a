/** Milliseconds; one `ack` acknowledges all messages that were handled within them. */
const ACK_AFTER = 200;

/** @typedef {import('./connection.js').Connection} Connection */
/** @typedef {import('./requests.js').Message} Message */

/**
 * Handles messages one after the other, in the order of their arrival. The position moves once a
 * message was handled, and is acknowledged a little later.
 */
export class Stream {
  /** Whether the server pushes each message as it is stored. */
  live = false;

  /** Whether the tab needs the current values: from page load, or a `reset`, until all have come. */
  snapshotDue = true;

  /** @type {{ connection: Connection, message: Message }[]} */
  #inbox = [];

  /** @type {Map<string, { type: string, key: string }> | undefined} what there is, once all have come */
  #values;

  #busy = false;
  #head = 0;

  /** @type {number | undefined} */
  #ackTimer;

  /** @type {Connection | undefined} the one to acknowledge on */
  #ackOn;

  #environment;
  #position;
  #handlers;
  #hooks;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {import('./position.js').Position} position
   * @param {import('./handlers.js').Handlers} handlers
   * @param {object} hooks
   * @param {(name: string, ...details: unknown[]) => Promise<void>} hooks.emit
   * @param {(live: boolean) => void} hooks.reached everything up to a `position` was handled
   */
  constructor(environment, position, handlers, hooks) {
    this.#environment = environment;
    this.#position = position;
    this.#handlers = handlers;
    this.#hooks = hooks;
  }

  get lag() {
    return this.live ? 0 : Math.max(0, this.#head - this.#position.offset);
  }

  /** @param {Connection} connection @param {Message} message */
  async take(connection, message) {
    this.#inbox.push({ connection, message });
    if (this.#busy) return;
    this.#busy = true;
    for (let next; (next = this.#inbox.shift());) await this.#next(next);
    this.#busy = false;
  }

  /** Acknowledges what was handled, before the connection ends. */
  finish() {
    this.#acknowledge();
    this.live = false;
  }

  /** @param {Connection} connection @param {Message} message */
  async #handle(connection, message) {
    const { type, payload, offset, snapshot, key } = message;
    if (type === 'connected') return this.#begin(connection, payload.resume);
    if (type === 'position') return this.#reached(connection, payload);
    const durable = offset !== undefined && !snapshot;
    if (durable && offset <= this.#position.offset) return;
    if (durable && offset <= this.#position.head) message.replayed = true;
    await this.#hooks.emit('message', message);
    for (const handler of this.#handlers.of(type)) {
      await this.#guard(() => handler(type, payload, message));
    }
    if (key !== undefined) {
      this.#values?.delete(type + ' ' + key);
      if (!message.deleted) this.#values?.set(type + ' ' + key, { type, key });
    }
    if (durable && this.#position.epoch !== undefined) this.#advance(connection, offset);
  }

  /** @param {{ connection: Connection, message: Message }} next */
  async #next({ connection, message }) {
    if (!connection.over) await this.#guard(() => this.#handle(connection, message));
  }

  /**
   * Calls a handler; reports what it throws, and goes on.
   *
   * @param {() => unknown} work
   */
  async #guard(work) {
    try {
      await work();
    } catch (error) {
      this.#hooks.emit('error', error);
    }
  }

  /**
   * Where a connection starts is our position from now on. After a `reset` the snapshot is asked
   * for until it is complete, so that a connection lost meanwhile needs no second reset.
   *
   * @param {Connection} connection
   * @param {import('./position.js').Resume} resume
   */
  async #begin(connection, resume) {
    const { outcome, epoch, offset, head } = resume;
    this.#head = head;
    if (outcome !== 'resumed') this.snapshotDue = true;
    this.#values = this.snapshotDue ? new Map() : undefined;
    if (!this.#position.start(resume)) return connection.fail('moved');
    if (outcome === 'reset') await this.#hooks.emit('reset', { epoch, offset, head });
    await this.#hooks.emit('resume', resume);
  }

  /** @param {Connection} connection @param {{ epoch: string, offset: number, live: boolean }} position */
  async #reached(connection, position) {
    this.live = position.live;
    this.snapshotDue = false;
    this.#advance(connection, position.offset, position.epoch);
    if (!connection.over) this.#hooks.reached(this.live);
    const values = this.#values;
    this.#values = undefined;
    if (values) await this.#hooks.emit('snapshot', [...values.values()]);
    await this.#hooks.emit('position', position);
  }

  /** @param {Connection} connection @param {number} offset @param {string} [epoch] */
  #advance(connection, offset, epoch) {
    this.#head = Math.max(this.#head, offset);
    this.#position.reach(offset, epoch);
    if (this.snapshotDue || connection.over) return;
    this.#ackOn = connection;
    this.#ackTimer ??= this.#environment.setTimeout(() => this.#acknowledge(), ACK_AFTER);
  }

  #acknowledge() {
    this.#environment.clearTimeout(this.#ackTimer);
    const payload = { offset: this.#position.offset };
    this.#ackOn?.send(JSON.stringify({ type: 'ack', payload }));
    this.#ackOn = this.#ackTimer = undefined;
  }
}
