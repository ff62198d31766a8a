import { SwitchboardError } from './errors.js';

/**
 * @typedef {object} Message
 * @property {string} type
 * @property {any} payload
 * @property {number} [offset]
 * @property {number} [time] milliseconds since 1970, when the server took a durable message
 * @property {string} [key] of a `latest` value
 * @property {true} [deleted] the value is gone
 * @property {{ device_id: number, instance: string }} [from]
 * @property {boolean} [snapshot]
 * @property {boolean} [replayed] after a `reset`: the fetched state may have it already
 * @property {string} [reply_to]
 */

/** A message until its answer is there or its time is over: on its way, or to be sent again. */
class Question {
  /** @type {SwitchboardError | undefined} `busy`, while it waits to be sent again */
  refusal;

  /** @type {number | undefined} */
  #again;

  #late;
  #environment;
  #hooks;
  #backoff;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {{ send: () => void, settle: (outcome: Message | SwitchboardError) => void }} hooks
   * @param {number} timeout milliseconds
   * @param {import('./backoff.js').Backoff} [backoff]
   */
  constructor(environment, hooks, timeout, backoff) {
    this.#environment = environment;
    this.#hooks = hooks;
    this.#backoff = backoff;
    const late = () => this.end(this.refusal ?? new SwitchboardError('timeout'));
    this.#late = environment.setTimeout(late, timeout);
  }

  /** @param {Message | SwitchboardError} answer */
  take(answer) {
    if (!this.#backoff || !(answer instanceof Error) || answer.code !== 'busy') {
      return this.end(answer);
    }
    this.refusal = answer;
    this.#again = this.#environment.setTimeout(() => this.#repeat(), this.#backoff.next());
  }

  /** @param {Message | SwitchboardError} outcome */
  end(outcome) {
    this.#environment.clearTimeout(this.#late);
    this.#environment.clearTimeout(this.#again);
    this.#hooks.settle(outcome);
  }

  #repeat() {
    this.refusal = undefined;
    try {
      this.#hooks.send();
    } catch (error) {
      this.end(/** @type {SwitchboardError} */ (error));
    }
  }
}

/** @param {{ code: string, message: string, retry_after_ms?: number }} payload of an `error` */
export function refusal({ code, message, retry_after_ms: retryAfter }) {
  return new SwitchboardError(code, message, retryAfter);
}

/** What was asked and is not answered yet. */
export class Requests {
  /** @type {Map<string, Question>} */
  #open = new Map();

  #last = 0;
  #environment;

  /** @param {import('./environment.js').Environment} environment */
  constructor(environment) {
    this.#environment = environment;
  }

  /**
   * Resolves to the answer; rejects with a SwitchboardError: the server's, that of `blame` or
   * `fail`, or `timeout`.
   *
   * @param {(id: string) => void} send puts the question on its way; throws if it cannot
   * @param {number} timeout milliseconds
   * @param {import('./backoff.js').Backoff} [backoff] with it, the question is sent again after
   *   `busy`, since the server has then done nothing; without it, `busy` is the outcome
   * @returns {Promise<Message>}
   */
  ask(send, timeout, backoff) {
    const id = String(++this.#last);
    return new Promise((resolve, reject) => {
      send(id);
      /** @param {Message | SwitchboardError} outcome */
      const settle = (outcome) => {
        this.#open.delete(id);
        if (outcome instanceof Error) reject(outcome);
        else resolve(outcome);
      };
      const hooks = { send: () => send(id), settle };
      this.#open.set(id, new Question(this.#environment, hooks, timeout, backoff));
    });
  }

  /**
   * A message with `reply_to` came.
   *
   * @param {Message} message
   */
  answer(message) {
    const { type, payload, reply_to } = message;
    const answer = type === 'error' ? refusal(payload) : message;
    this.#open.get(reply_to ?? '')?.take(answer);
  }

  /**
   * An error that names no message came: it may be the answer to anything that is on its way.
   *
   * @param {SwitchboardError} error
   */
  blame(error) {
    for (const question of [...this.#open.values()]) if (!question.refusal) question.end(error);
  }

  /**
   * Nothing that is open will be answered.
   *
   * @param {SwitchboardError} error why
   */
  fail(error) {
    for (const question of [...this.#open.values()]) question.end(error);
  }
}
