/** @typedef {(type: string, payload: any, message: import('./requests.js').Message) => unknown} Handler */

/** Who handles which types. A prefix stands for itself and for all that follows it after a dot. */
export class Handlers {
  /** @type {Map<string, Handler>} */
  #byPrefix = new Map();

  /**
   * Takes the place of an earlier handler of this prefix.
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
   * Those whose turn it is, in the order of their registration.
   *
   * @param {string} type
   */
  of(type) {
    return [...this.#byPrefix]
      .filter(([prefix]) => type === prefix || type.startsWith(prefix + '.'))
      .map(([, handler]) => handler);
  }
}
