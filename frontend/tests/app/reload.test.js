// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeStorage } from '../client/browser.js';
import { PlaygroundServer } from './playground.js';
import { connected, openTab, signedInTab } from './tab.js';
import { until, PATIENT } from './until.js';

vi.setConfig(PATIENT);

/** @type {PlaygroundServer} */
let server;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new PlaygroundServer().install();
});

afterEach(() => {
  window.dispatchEvent(new Event('pagehide'));
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

/** @param {Awaited<ReturnType<typeof openTab>>} tab */
async function withMessages(tab) {
  const { useMessages } = await import('../../src/store/messages.js');
  return { ...tab, messages: useMessages(tab.pinia) };
}

const playing = async () => withMessages(await signedInTab());

/** The page goes, and what the tab's storage has is all that the next one finds. */
async function loadAgain() {
  window.dispatchEvent(new Event('pagehide'));
  const tab = await withMessages(await openTab());
  void tab.auth.start();
  return tab;
}

async function reloaded() {
  const tab = await loadAgain();
  await connected(tab);
  return tab;
}

const remembered = () => JSON.stringify({ ...sessionStorage });

const NOTE = { type: 'note.text', payload: { text: 'hi' } };
const LOG = /** @type {const} */ ({ ...NOTE, to: 'others', store: 'log' });
const NOW = /** @type {const} */ ({ ...NOTE, to: 'others', store: 'none' });

describe('after a reload', () => {
  it('what arrived before is there, as it was and with its times', async () => {
    const { messages } = await playing();
    const from = { device_id: 2, instance: 'x' };
    server.push({ type: 'a.one', payload: { n: 1 }, offset: 7, time: 1_700_000_000_000, from });
    server.push({ type: 'b.two', key: 'k', deleted: true, replayed: true });
    await until(() => messages.arrivals.length === 2);
    const before = messages.arrivals.map(({ number: _, ...arrival }) => arrival);
    const { messages: after } = await reloaded();
    expect(after.arrivals.map(({ number: _, ...arrival }) => arrival)).toEqual(before);
    server.push({ type: 'c.three' });
    await until(() => after.arrivals.length === 3);
    expect(after.arrivals.map(({ type }) => type)).toEqual(['c.three', 'b.two', 'a.one']);
    expect(new Set(after.arrivals.map(({ number }) => number)).size).toBe(3);
  });

  it('what arrived while the feed was paused is in it', async () => {
    const { messages } = await playing();
    messages.pause();
    server.push({ type: 'a.one' });
    await until(() => messages.heldCount === 1);
    const { messages: after } = await reloaded();
    expect(after.arrivals.map(({ type }) => type)).toEqual(['a.one']);
    expect(after.heldCount).toBe(0);
  });

  it('what was cleared stays away', async () => {
    const { messages } = await playing();
    server.push({ type: 'a.one' });
    await until(() => messages.arrivals.length === 1);
    await reloaded();
    const { messages: after } = await reloaded();
    after.clear();
    const { messages: last } = await reloaded();
    expect(last.arrivals).toEqual([]);
  });

  it('what was sent is there, with what became of it', async () => {
    const { messages } = await playing();
    await messages.send(LOG);
    await messages.send({ ...NOW, to: 99 });
    const before = messages.sends.map(({ status, at, offset, fault }) => [
      status,
      at,
      offset,
      fault,
    ]);
    const { messages: after } = await reloaded();
    const found = after.sends.map(({ status, at, offset, fault }) => [status, at, offset, fault]);
    expect(found).toEqual(before);
    const again = await after.send(LOG, after.sends[1].messageId);
    expect(again.duplicate).toBe(true);
    expect(new Set(after.sends.map(({ key }) => key)).size).toBe(3);
  });

  it('what waits in the outbox is shown as waiting, and as accepted once it is', async () => {
    const { messages, websocket } = await playing();
    websocket.goOffline();
    void messages.send(LOG);
    server.silent = true;
    const { messages: after } = await loadAgain();
    await until(() => server.sent.length === 1);
    expect(after.sends).toMatchObject([{ status: 'sending', waited: true }]);
    server.silent = false;
    server.closeAll(1006);
    await until(() => after.sends[0].status === 'delivered');
    expect(after.sends[0]).toMatchObject({ offset: 1, delivered: [] });
    expect(server.sent[1]).toEqual(server.sent[0]);
  });

  it('what waits and is refused then says why', async () => {
    const { messages, websocket } = await playing();
    websocket.goOffline();
    void messages.send({ ...LOG, to: 99 });
    const { messages: after } = await reloaded();
    await until(() => after.sends[0].status === 'refused');
    expect(after.sends[0].fault).toMatch(/no such device/);
  });

  it('what had no answer and does not wait is not shown as on its way', async () => {
    const { messages } = await playing();
    server.silent = true;
    void messages.send(NOW);
    await until(() => server.sent.length === 1);
    const { messages: after } = await reloaded();
    expect(after.sends).toMatchObject([{ status: 'refused' }]);
    expect(after.sends[0].fault).toMatch(/Nobody knows/);
  });
});

describe('the tab remembers', () => {
  it('the newest that fit, however much comes', async () => {
    const { messages } = await playing();
    const text = 'x'.repeat(60_000);
    for (let n = 0; n < 50; n += 1) messages.receive({ type: 'a.b', payload: { n, text } });
    const { messages: after } = await reloaded();
    expect(remembered().length).toBeLessThan(1_500_000);
    expect(after.arrivals.length).toBeGreaterThan(2);
    expect(after.arrivals[0].payload).toMatchObject({ n: 49 });
  });

  it('without the page having to go, for it may crash', async () => {
    const { messages } = await playing();
    server.push({ type: 'a.one', payload: 'of-the-first-page' });
    await until(() => messages.arrivals.length === 1);
    await until(() => remembered().includes('of-the-first-page'));
  });

  it('nothing of what comes while its storage is full, and nothing older either', async () => {
    const storage = new FakeStorage();
    const kept = () => JSON.stringify([...storage.values]);
    vi.stubGlobal('sessionStorage', storage);
    const { messages } = await playing();
    messages.receive({ type: 'a.one', payload: 'older' });
    document.dispatchEvent(new Event('visibilitychange'));
    expect(kept()).toContain('older');
    storage.full = true;
    messages.receive({ type: 'a.two', payload: 'newer' });
    document.dispatchEvent(new Event('visibilitychange'));
    expect(kept()).not.toContain('older');
    expect(messages.arrivals).toHaveLength(2);
  });

  it.each(['{', '[]', '{"owner":"1/1","arrivals":7,"sends":{}}'])(
    'and starts empty when what it finds is %s',
    async (found) => {
      await playing();
      window.dispatchEvent(new Event('pagehide'));
      sessionStorage.setItem('switchboard.messages', found);
      const { messages } = await reloaded();
      expect(messages.arrivals).toEqual([]);
      expect(messages.sends).toEqual([]);
    },
  );

  it('no token and no password', async () => {
    const { messages } = await playing();
    await messages.send(LOG);
    window.dispatchEvent(new Event('pagehide'));
    expect(remembered()).not.toContain('secret');
    expect(remembered()).not.toContain('correct horse');
  });
});

describe('of a session that is over the tab has nothing', () => {
  async function withSecret() {
    const tab = await playing();
    server.push({ type: 'a.one', payload: 'private' });
    await until(() => tab.messages.arrivals.length === 1);
    return tab;
  }

  it('when the user signs out', async () => {
    const { auth } = await withSecret();
    document.dispatchEvent(new Event('visibilitychange'));
    expect(remembered()).toContain('private');
    await auth.signOut();
    window.dispatchEvent(new Event('pagehide'));
    expect(remembered()).not.toContain('private');
  });

  it('when the server ends it', async () => {
    const { auth } = await withSecret();
    document.dispatchEvent(new Event('visibilitychange'));
    server.cookie = null;
    server.closeAll(4502, 'revoked');
    await until(() => !auth.signedIn);
    window.dispatchEvent(new Event('pagehide'));
    expect(remembered()).not.toContain('private');
  });

  it('when it ended while the tab was closed', async () => {
    await withSecret();
    window.dispatchEvent(new Event('pagehide'));
    server.cookie = null;
    const { auth } = await loadAgain();
    await auth.known();
    expect(remembered()).not.toContain('private');
  });

  it('when another user signed in while the tab was closed', async () => {
    await withSecret();
    window.dispatchEvent(new Event('pagehide'));
    server.cookie = { user: server.users[1], device: server.addDevice(2) };
    const { messages } = await reloaded();
    expect(messages.arrivals).toEqual([]);
    server.push({ type: 'b.next' });
    await until(() => messages.arrivals.length === 1);
    window.dispatchEvent(new Event('pagehide'));
    expect(remembered()).not.toContain('private');
  });
});
