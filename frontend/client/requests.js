import { SwitchboardError } from './errors.js';

/**
 * @typedef {object} Message
 * @property {string} type
 * @property {any} payload
 * @property {number} [offset]
 * @property {{ device_id: number, instance: string }} [from]
 * @property {boolean} [snapshot]
 * @property {string} [reply_to]
 */

/** What was asked and is not answered yet. */
export class Requests {
  /** @type {Map<string, (answer: Message | SwitchboardError) => void>} */
  #open = new Map();

  #last = 0;
  #environment;

  /** @param {import('./environment.js').Environment} environment */
  constructor(environment) {
    this.#environment = environment;
  }

  /**
   * Resolves to the answer; rejects with a SwitchboardError: the server's, or that of `fail`, or
   * `timeout`.
   *
   * @param {(id: string) => void} send puts the question on its way; throws if it cannot
   * @param {number} timeout milliseconds
   * @returns {Promise<Message>}
   */
  ask(send, timeout) {
    const id = String(++this.#last);
    return new Promise((resolve, reject) => {
      send(id);
      const { setTimeout, clearTimeout } = this.#environment;
      /** @param {Message | SwitchboardError} answer */
      const settle = (answer) => {
        clearTimeout(timer);
        this.#open.delete(id);
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
      const timer = setTimeout(() => settle(new SwitchboardError('timeout')), timeout);
      this.#open.set(id, settle);
    });
  }

  /**
   * A message with `reply_to` came.
   *
   * @param {Message} message
   */
  answer(message) {
    const { type, payload, reply_to } = message;
    this.#open.get(reply_to ?? '')?.(
      type === 'error' ? new SwitchboardError(payload.code, payload.message) : message,
    );
  }

  /**
   * Nothing that is open will be answered.
   *
   * @param {SwitchboardError} error why
   */
  fail(error) {
    for (const settle of [...this.#open.values()]) settle(error);
  }
}
