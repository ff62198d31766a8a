/** One value in the storage of this tab: it outlives a reload, and a copied tab gets a copy. */
export class Shelf {
  #storage;
  #key;
  #report;

  /**
   * @param {import('./environment.js').Environment['storage']} storage
   * @param {string} key
   * @param {(error: unknown) => void} report told when the storage is full or blocked
   */
  constructor(storage, key, report) {
    this.#storage = storage;
    this.#key = key;
    this.#report = report;
  }

  /** Returns the value that was put last; undefined if there is none, or none that can be read. */
  get() {
    try {
      return JSON.parse(this.#storage?.getItem(this.#key) ?? 'null') ?? undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {unknown} value `undefined` removes it */
  put(value) {
    try {
      if (value === undefined) this.#storage?.removeItem(this.#key);
      else this.#storage?.setItem(this.#key, JSON.stringify(value));
    } catch (error) {
      this.#report(error);
    }
  }
}
