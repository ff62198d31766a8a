import { describe, expect, it } from 'vitest';
import { Browser } from './browser.js';
import { connected, pass, settle, useFakeTime } from './scene.js';
import { FakeServer } from './server.js';

useFakeTime();

const durable = { to: 'others', durable: true };
const sends = (server) => server.seen.filter(({ type }) => type === 'device.send');

describe('the instance', () => {
  it('is kept over a reload', async () => {
    const { tab, client } = await connected();
    const next = tab.reload().connect();
    await settle();
    expect(next.client.instance).toBe(client.instance);
  });

  it('is kept over a hundred quick reloads, which leave one connection', async () => {
    const { tab, client, server } = await connected();
    for (let i = 0; i < 100; i++) {
      tab.reload().connect();
      await pass((i * 7) % 40);
    }
    await settle();
    expect(tab.page.client.instance).toBe(client.instance);
    expect(tab.page.client.status).toBe('connected');
    expect(server.peers.size).toBe(1);
  });

  it('is kept when the page before gives its lock back a little late', async () => {
    const { tab, client } = await connected();
    const before = tab.page;
    const next = tab.load().connect();
    await pass(300);
    before.crash();
    await settle();
    expect(next.client.instance).toBe(client.instance);
  });

  it('of each tab is another, and no tab disturbs the others', async () => {
    const { browser, server, page } = await connected();
    const others = [browser.tab().load().connect(), browser.tab().load().connect()];
    await pass(30_000);
    const pages = [page, ...others];
    expect(new Set(pages.map(({ client }) => client.instance)).size).toBe(3);
    expect(pages.map(({ client }) => [client.status, client.reconnects])).toEqual(
      Array(3).fill(['connected', 0]),
    );
    expect(server.peers.size).toBe(3);
  });

  it('is new in each page where there are no locks', async () => {
    const server = new FakeServer();
    const tab = new Browser(server, { locks: null }).tab();
    const names = [];
    for (let i = 0; i < 3; i++) {
      const { client } = i ? tab.reload().connect() : tab.load().connect();
      await settle();
      names.push(client.instance);
      server.cut();
      await pass(700);
      expect(client.instance).toBe(names.at(-1));
    }
    expect(new Set(names).size).toBe(3);
  });

  it('is found again without locks when the page comes back from where it was kept', async () => {
    const server = new FakeServer();
    const page = new Browser(server, { locks: null }).tab().load().connect();
    await settle();
    const { instance } = page.client;
    page.hide();
    page.show();
    await settle();
    expect(page.client.instance).toBe(instance);
  });

  it('can be had where locks are refused', async () => {
    const request = async () => {
      throw new DOMException('denied', 'SecurityError');
    };
    const { client } = await connected({ environment: { locks: { request } } });
    expect(client.status).toBe('connected');
  });
});

describe('a tab whose lock is late', () => {
  const never = (_, { signal }) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new DOMException('late', 'AbortError')));
    });

  it.each([
    ['nobody has it', async () => ({ held: [], pending: [] })],
    ['only others have others', async () => ({ held: [{ name: 'another' }] })],
    ['it is not known who has it', () => Promise.reject(new DOMException('no', 'SecurityError'))],
  ])('keeps what waits to be sent when %s', async (_, query) => {
    const { tab, client, server } = await connected();
    client.disconnect();
    client.send('note.text', 'kept', durable);
    tab.page.leave();
    const next = tab.load({}, { locks: { request: never, query } }).connect();
    await pass(1200);
    expect(next.client.instance).not.toBe(client.instance);
    expect(sends(server).map(({ payload }) => payload.payload)).toEqual(['kept']);
  });
});

describe('a duplicated tab', () => {
  it('takes a name of its own, also if the lock of its original came late', async () => {
    const browser = new Browser(new FakeServer());
    const lateness = 800;
    let grant;
    const late = new Promise((resolve) => (grant = resolve));
    const tab = browser.tab();
    const locks = browser.locks.of(tab);
    const request = async (name, options, held) => {
      await late;
      return locks.request(name, options, held);
    };
    const original = tab.load({}, { locks: { ...locks, request } }).connect();
    await pass(lateness);
    expect(original.client.status).toBe('connected');
    grant();
    await settle();
    const copy = tab.duplicate().load().connect();
    await pass(30_000);
    expect(copy.client.instance).not.toBe(original.client.instance);
    expect([original.client.status, copy.client.status]).toEqual(['connected', 'connected']);
  });

  it('takes a name of its own, and leaves its original alone', async () => {
    const { tab, client, server } = await connected();
    const copy = tab.duplicate().load().connect();
    await pass(30_000);
    expect(copy.client.instance).not.toBe(client.instance);
    expect(client.reconnects).toBe(0);
    expect([client.status, copy.client.status]).toEqual(['connected', 'connected']);
    expect(server.peers.size).toBe(2);
  });

  it('goes on from the position that was copied', async () => {
    const { tab, server } = await connected();
    server.store('note.text', 'seen by the original');
    await settle();
    const other = tab.duplicate();
    server.store('note.text', 'new to the copy');
    const copy = other.load().connect();
    await pass(600);
    expect(copy.told('message').map(({ payload }) => payload)).toEqual(['new to the copy']);
  });

  it('never sends the outbox of its original', async () => {
    const { tab, client, server } = await connected();
    client.disconnect();
    client.send('note.text', 'once', durable);
    const copy = tab.duplicate().load().connect();
    copy.client.send('note.text', 'of the copy', durable);
    await pass(1000);
    expect(sends(server).map(({ payload }) => payload.payload)).toEqual(['of the copy']);
    client.connect();
    await settle();
    expect(sends(server).map(({ payload }) => payload.payload)).toEqual(['of the copy', 'once']);
  });

  it('keeps its new name over a reload', async () => {
    const { tab } = await connected();
    const other = tab.duplicate();
    const copy = other.load().connect();
    await pass(600);
    const next = other.reload().connect();
    await settle();
    expect(next.client.instance).toBe(copy.client.instance);
  });
});

describe('clients of one page', () => {
  it('of different names share nothing', async () => {
    const { tab, client, server } = await connected();
    const other = tab.load({ name: 'second' }).connect();
    await settle();
    expect(other.client.instance).not.toBe(client.instance);
    expect(server.peers.size).toBe(2);
    expect(client.reconnects).toBe(0);
  });

  it('of different servers keep different positions', async () => {
    const { tab, server } = await connected();
    server.store('note.text');
    await settle();
    const other = tab.load({ url: 'https://other.example' });
    expect(other.client.position).toBeNull();
  });
});
