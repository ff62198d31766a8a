import { afterEach, beforeEach, vi } from 'vitest';
import { Browser } from './browser.js';
import { FakeServer } from './server.js';

/** Fake time for each test of the file. The date is no multiple of anything. */
export function useFakeTime() {
  beforeEach(() => {
    vi.useFakeTimers({ now: 1_795_387_456_664 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

/** Lets this much time pass, for everything that waits for it. */
export const pass = (ms) => vi.advanceTimersByTimeAsync(ms);

/** Long enough for an upgrade and some messages, shorter than any wait of the library. */
export const settle = () => pass(100);

/** A server, a browser, and a page in it that is connected. */
export async function connected({ options, environment, prepare } = {}) {
  const server = new FakeServer();
  prepare?.(server);
  const browser = new Browser(server);
  const tab = browser.tab();
  const page = tab.load(options, environment).connect();
  await settle();
  return { server, browser, tab, page, client: page.client };
}

/** What the messages brought that the page was told of. */
export const payloads = (page) => page.told('message').map(({ payload }) => payload);

/** A promise, and what settles it. */
export function gate() {
  let open;
  const closed = new Promise((resolve) => (open = resolve));
  return { closed, open };
}
