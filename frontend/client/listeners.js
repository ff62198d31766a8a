/** The listeners of each event. */
export class Listeners {
  /** @type {Map<string, Set<Function>>} */
  #byName = new Map();

  #reportError;

  /** @param {(error: unknown) => void} reportError takes errors that nobody listens for */
  constructor(reportError) {
    this.#reportError = reportError;
  }

  /**
   * @param {string} name
   * @param {Function} listener
   * @returns {() => void} ends it
   */
  on(name, listener) {
    const listeners = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  /**
   * Calls all of them, even if one throws; resolves once all promises that they returned have settled.
   *
   * @param {string} name
   * @param {...unknown} details
   */
  async emit(name, ...details) {
    const listeners = [...(this.#byName.get(name) ?? [])];
    if (name === 'error' && !listeners.length) this.#reportError(details[0]);
    await Promise.all(listeners.map((listener) => this.#tell(name, listener, details)));
  }

  /** @param {string} name @param {Function} listener @param {unknown[]} details */
  async #tell(name, listener, details) {
    try {
      await listener(...details);
    } catch (error) {
      if (name === 'error') this.#reportError(error);
      else this.emit('error', error);
    }
  }
}
