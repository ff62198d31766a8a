import { uniqueName } from './environment.js';

/** Milliseconds within which a page that is being reloaded gives its lock back. */
const PATIENCE = 500;

/**
 * The name by which the server knows this tab. It survives reloads. A lock guards it: a copied tab has
 * the name of its original, whose connection it would replace.
 */
export class Instance {
  /** @type {string | null} */
  name = null;

  #environment;
  #key;
  #shelf;
  #copied;

  /** @type {Promise<string> | undefined} */
  #claimed;

  /** @type {(() => void) | undefined} */
  #giveBack;

  /**
   * @param {import('./environment.js').Environment} environment
   * @param {string} key of the lock
   * @param {import('./shelf.js').Shelf} shelf
   * @param {() => void} copied told when another tab holds the name that is stored here
   */
  constructor(environment, key, shelf, copied) {
    this.#environment = environment;
    this.#key = key;
    this.#shelf = shelf;
    this.#copied = copied;
  }

  /** Resolves to the name once this tab alone has it. */
  claim() {
    return (this.#claimed ??= this.#take());
  }

  /** Gives the lock back, since the page goes away, perhaps to come back. */
  release() {
    this.#giveBack?.();
    this.#giveBack = undefined;
  }

  async #take() {
    const known = this.name ?? this.#shelf.get();
    if (known && (await this.#hold(known))) return this.#keep(known);
    if (known && (await this.#isHeld(known))) this.#copied();
    const fresh = uniqueName(this.#environment.random);
    await this.#hold(fresh, { waits: true });
    return this.#keep(fresh);
  }

  /** @param {string} name */
  #keep(name) {
    this.name = name;
    this.#shelf.put(name);
    return name;
  }

  /**
   * Whether a tab holds this name: a lock that is not granted in time may just be late, and what is
   * stored under the name must not get lost by that.
   *
   * @param {string} name
   */
  async #isHeld(name) {
    try {
      const state = await this.#environment.locks?.query();
      return state?.held?.some((lock) => lock.name === this.#key + name);
    } catch {
      return false;
    }
  }

  /**
   * Without locks only the name that this very page has taken is surely ours. A request that waits is
   * one for a name of our own: it stays where it is when the lock is late, before those of our copies.
   *
   * @param {string} name
   * @param {{ waits?: boolean }} [options]
   * @returns {Promise<boolean>}
   */
  async #hold(name, { waits = false } = {}) {
    const { locks, setTimeout, clearTimeout } = this.#environment;
    if (!locks) return name === this.name;
    const { abort, signal } = abortable();
    return new Promise((settle) => {
      const timer = setTimeout(waits ? () => settle(false) : abort, PATIENCE);
      const held = () => {
        clearTimeout(timer);
        settle(true);
        return new Promise((done) => {
          this.#giveBack = () => {
            this.#claimed = undefined;
            done(undefined);
          };
        });
      };
      locks.request(this.#key + name, { signal }, held).catch(() => settle(false));
    });
  }
}

function abortable() {
  const controller = new AbortController();
  return { abort: () => controller.abort(), signal: controller.signal };
}
