/** @typedef {(type: string, payload: any, message: import('./requests.js').Message) => unknown} Handler */

/** The handlers of messages by type prefix, which is a type or what comes before one of its dots. */
export class Handlers {
  /** @type {Map<string, Handler>} */
  #byPrefix = new Map();

  /**
   * Registers a handler, in place of an earlier one of this prefix.
   *
   * @param {string} prefix
   * @param {Handler} handler
   * @returns {() => void} takes it away, if no other has taken its place
   */
  register(prefix, handler) {
    this.#byPrefix.set(prefix, handler);
    return () => {
      if (this.#byPrefix.get(prefix) === handler) this.unregister(prefix);
    };
  }

  /** @param {string} prefix */
  unregister(prefix) {
    this.#byPrefix.delete(prefix);
  }

  /**
   * Returns the handlers of this type, in the order of their registration.
   *
   * @param {string} type
   */
  of(type) {
    return [...this.#byPrefix]
      .filter(([prefix]) => type === prefix || type.startsWith(prefix + '.'))
      .map(([, handler]) => handler);
  }
}
