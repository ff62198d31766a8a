/**
 * A browser for tests: tabs with a storage of their own, pages that come and go in them, and locks
 * that all pages share.
 *
 *     const browser = new Browser(server);
 *     const tab = browser.tab();
 *     const page = tab.load();       page.client is not connected yet; page.told('status') is what it said
 *     tab.reload(); tab.duplicate(); page.wake(); page.goOffline(); page.hide(); page.show()
 */
import { createClient } from '../../client/index.js';

export const ORIGIN = 'http://switchboard.example';

export class Browser {
  constructor(server, { locks = new FakeLocks() } = {}) {
    this.server = server;
    this.locks = locks;
    this.random = seeded(20_261_123);
  }

  tab(storage = new FakeStorage()) {
    return new Tab(this, storage);
  }
}

class Tab {
  page = null;

  constructor(browser, storage) {
    this.browser = browser;
    this.storage = storage;
  }

  load(options = {}, environment = {}) {
    this.page = new Page(this, options, environment);
    return this.page;
  }

  reload(options = {}) {
    this.page.leave();
    return this.load(options);
  }

  /** Another tab, with a copy of this one's storage. */
  duplicate() {
    return this.browser.tab(new FakeStorage(this.storage));
  }
}

class Page {
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  window = new EventTarget();
  navigator = { onLine: true, connection: new EventTarget() };

  /** Errors that no listener took. */
  unheard = [];

  #told = [];
  #gone = false;
  #lockHolder = {};

  constructor(tab, options, environment) {
    this.tab = tab;
    this.client = createClient(options, { ...this.#environment(), ...environment });
    for (const name of EVENTS) this.client.on(name, (...details) => this.#note(name, details));
  }

  /** The details of what was told under this name. */
  told(name) {
    return this.#told.filter((entry) => entry.name === name).map(({ details }) => details[0]);
  }

  connect() {
    this.client.connect();
    return this;
  }

  wake() {
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  goOffline() {
    this.navigator.onLine = false;
    this.window.dispatchEvent(new Event('offline'));
  }

  goOnline() {
    this.navigator.onLine = true;
    this.window.dispatchEvent(new Event('online'));
  }

  hide() {
    this.window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: true }));
  }

  show() {
    this.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }));
  }

  /** The page is gone for good: its locks are free, and its timers and sockets do nothing. */
  leave() {
    this.window.dispatchEvent(Object.assign(new Event('pagehide'), { persisted: false }));
    this.#gone = true;
    this.tab.browser.locks?.leave(this.#lockHolder);
  }

  /** The page is gone without a word, as after a crash. */
  crash() {
    this.#gone = true;
    this.tab.browser.locks?.leave(this.#lockHolder);
  }

  #environment() {
    const { server, locks } = this.tab.browser;
    return {
      WebSocket: server.WebSocket,
      fetch: server.fetch,
      storage: this.tab.storage,
      locks: locks?.of(this.#lockHolder),
      document: this.document,
      window: this.window,
      navigator: this.navigator,
      origin: ORIGIN,
      random: this.tab.browser.random,
      setTimeout: (work, ms) => setTimeout(() => this.#gone || work(), ms),
      reportError: (error) => this.unheard.push(error),
    };
  }

  #note(name, details) {
    this.#told.push({ name, details });
  }
}

/** Numbers that look random and are the same in each run (mulberry32). */
function seeded(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const EVENTS = [
  'status',
  'resume',
  'snapshot',
  'reset',
  'message',
  'position',
  'goaway',
  'latency',
  'outbox',
  'error',
];

/** sessionStorage of one tab; `full` makes writes fail. */
export class FakeStorage {
  full = false;

  constructor(other) {
    this.values = new Map(other?.values);
  }

  getItem(key) {
    return this.values.get(key) ?? null;
  }

  setItem(key, value) {
    if (this.full) throw new DOMException('full', 'QuotaExceededError');
    this.values.set(key, String(value));
  }

  removeItem(key) {
    this.values.delete(key);
  }

  /** The value under the only key that ends so. */
  read(what) {
    const key = [...this.values.keys()].find((name) => name.endsWith(` ${what}`));
    return key === undefined ? undefined : JSON.parse(this.values.get(key));
  }
}

/** navigator.locks of a browser: exclusive, in order of asking, freed when their page goes. */
export class FakeLocks {
  #queues = new Map();

  /** What one page sees of them. */
  of(page) {
    return {
      request: (name, { signal }, held) => this.#request(page, name, signal, held),
      query: async () => ({ held: this.#held() }),
    };
  }

  leave(page) {
    for (const queue of this.#queues.values()) {
      for (const entry of queue.filter((one) => one.page === page)) this.#free(queue, entry);
    }
  }

  #held() {
    const granted = [...this.#queues].filter(([, [first]]) => first?.granted);
    return granted.map(([name]) => ({ name }));
  }

  #request(page, name, signal, held) {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const entry = { page, granted: false, grant: () => resolve(held()?.finally(free)) };
      const free = () => this.#free(queue, entry);
      signal.addEventListener('abort', () => {
        if (entry.granted) return;
        free();
        reject(new DOMException('aborted', 'AbortError'));
      });
      queue.push(entry);
      this.#serve(queue);
    });
  }

  #free(queue, entry) {
    const at = queue.indexOf(entry);
    if (at >= 0) queue.splice(at, 1);
    this.#serve(queue);
  }

  #serve([first]) {
    if (!first || first.granted) return;
    first.granted = true;
    queueMicrotask(first.grant);
  }
}
