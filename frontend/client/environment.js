/**
 * What the library uses of the browser; tests give their own.
 *
 * @typedef {object} Environment
 * @property {typeof WebSocket} WebSocket
 * @property {typeof fetch} fetch
 * @property {Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>} [storage] of this tab
 * @property {Pick<LockManager, 'request' | 'query'>} [locks] absent on pages without https
 * @property {Pick<EventTarget, 'addEventListener'> & { visibilityState?: string }} [document]
 * @property {Pick<EventTarget, 'addEventListener'>} [window]
 * @property {{ onLine?: boolean, connection?: Pick<EventTarget, 'addEventListener'> }} [navigator]
 * @property {string} [origin] the server when no `url` is given
 * @property {() => number} now milliseconds that only go on, whatever the clock is set to; those of
 *   one page load follow on those of the one before
 * @property {() => number} date milliseconds since 1970, by the clock that people set
 * @property {() => number} random
 * @property {(work: () => void, ms: number) => number} setTimeout
 * @property {(timer: number | undefined) => void} clearTimeout
 * @property {(error: unknown) => void} reportError takes what no listener took
 */

/** Milliseconds: the longest that a timer of a browser can be. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** Where site data is blocked, reading the property alone throws. */
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}

/** @returns {Environment} that of this page */
export function pageEnvironment() {
  const page = globalThis;
  return {
    WebSocket: page.WebSocket,
    fetch: (...request) => page.fetch(...request),
    storage: tabStorage(),
    locks: page.navigator?.locks,
    document: page.document,
    window: page.window,
    navigator: page.navigator,
    origin: page.location?.origin,
    now: () => performance.timeOrigin + performance.now(),
    date: () => Date.now(),
    random: Math.random,
    setTimeout: (work, ms) => page.setTimeout(work, ms),
    clearTimeout: (timer) => page.clearTimeout(timer),
    reportError: (error) => page.reportError?.(error),
  };
}

/**
 * Returns a name of letters and digits that no other call returns.
 *
 * @param {() => number} random
 */
export function uniqueName(random) {
  const part = () => random().toString(36).slice(2, 12);
  return part() + part();
}
