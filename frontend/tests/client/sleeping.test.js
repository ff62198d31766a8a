import { describe, expect, it, vi } from 'vitest';
import { connected, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const pings = (server) => server.seen.filter(({ type }) => type === 'ping').length;

/** People, or the machine, set the clock; timers and `performance.now` go on as before. */
const setClock = (ms) => vi.setSystemTime(Date.now() + ms);

/** The machine sleeps: the clock goes on, but neither a timer nor `performance.now` does. */
const sleep = setClock;

describe('the heartbeat', () => {
  it('asks after a silence of one interval, and keeps a quiet connection', async () => {
    const { server, client, page } = await connected();
    await pass(300_000);
    expect(client.reconnects).toBe(0);
    expect(pings(server)).toBeGreaterThan(8);
    expect(pings(server)).toBeLessThan(13);
    expect(page.told('latency')[0]).toBe(10);
  });

  it('asks nothing while messages come', async () => {
    const { server } = await connected();
    for (let i = 0; i < 30; i++) {
      server.push('note.text', i);
      await pass(10_000);
    }
    expect(pings(server)).toBe(0);
  });

  it('gives a dead server up after two and a half intervals', async () => {
    const { server, client, page } = await connected();
    server.silent = true;
    await pass(55_000);
    expect(client.status).toBe('connected');
    await pass(13_000);
    expect(page.told('status').slice(3, 4)).toEqual(['disconnected']);
    server.silent = false;
    await pass(15_000);
    expect(client.status).toBe('connected');
  });

  it('does not take a late timer for a dead server', async () => {
    const { client, server } = await connected();
    for (let i = 0; i < 10; i++) {
      sleep(60_000);
      await pass(5000);
    }
    expect(client.reconnects).toBe(0);
    expect(pings(server)).toBeGreaterThan(9);
  });

  it.each([
    ['half a minute', 30_000],
    ['an hour', 3_600_000],
  ])('finds out within seconds when the machine slept %s unnoticed', async (_, ms) => {
    const { client, server } = await connected();
    sleep(ms);
    server.silent = true;
    await pass(7100);
    expect(client.status).not.toBe('connected');
    server.silent = false;
    await pass(20_000);
    expect(client.status).toBe('connected');
  });
});

describe('a clock that is set while the page is connected', () => {
  const jumps = [
    ['an hour back', -3_600_000],
    ['an hour ahead', 3_600_000],
    ['400 days ahead', 400 * 86_400_000],
  ];

  it.each(jumps)('keeps a connection that works, %s', async (_, ms) => {
    const { server, client } = await connected();
    setClock(ms);
    await pass(120_000);
    expect(client.reconnects).toBe(0);
    expect(client.status).toBe('connected');
    expect(pings(server)).toBeLessThan(7);
  });

  it.each(jumps)('gives a dead server up after two and a half intervals, %s', async (_, ms) => {
    const { server, client } = await connected();
    server.silent = true;
    setClock(ms);
    await pass(68_000);
    expect(client.status).not.toBe('connected');
  });

  it.each(jumps)('measures a round trip, %s', async (_, ms) => {
    const { client } = await connected();
    const asked = client.ping();
    setClock(ms);
    await settle();
    expect(await asked).toBe(10);
  });

  it.each(jumps)('comes back when the server asked to, %s', async (_, ms) => {
    const { server, client, page } = await connected({ environment: { random: () => 0 } });
    server.close(1001, 'shutting_down', { goaway: { reconnect: true, after_ms: 5000 } });
    await settle();
    setClock(ms);
    page.wake();
    await pass(4000);
    expect(client.status).toBe('disconnected');
    await pass(1500);
    expect(client.status).toBe('connected');
  });

  it.each(jumps)('throws away nothing that waits to be sent, %s', async (_, ms) => {
    const { server, client, page } = await connected();
    server.refusing = true;
    server.cut();
    await settle();
    const sent = client.send('note.text', 1, { to: 'all', durable: true });
    setClock(ms);
    await pass(60_000);
    server.refusing = false;
    page.wake();
    await pass(1000);
    expect((await sent).offset).toBeGreaterThan(0);
  });

  it('tells the next attempt by the clock that people see', async () => {
    const { server, client } = await connected();
    setClock(-3_600_000);
    server.refusing = true;
    server.cut();
    await settle();
    const wait = client.statusDetail.retryAt - Date.now();
    expect(wait).toBeGreaterThan(-100);
    expect(wait).toBeLessThan(30_000);
  });
});

describe('waking up', () => {
  const ways = {
    'the page is visible again': (page) => page.wake(),
    'the page is thawed': (page) => page.document.dispatchEvent(new Event('resume')),
    'the network is another': (page) =>
      page.navigator.connection.dispatchEvent(new Event('change')),
    'the network is back': (page) => page.goOnline(),
    'the network is gone': (page) => page.goOffline(),
  };

  it.each(Object.entries(ways))('probes the connection when %s', async (_, wake) => {
    const { server, client, page } = await connected();
    wake(page);
    await settle();
    expect(pings(server)).toBe(1);
    await pass(3000);
    expect(client.reconnects).toBe(0);
  });

  it.each(Object.entries(ways))('drops a dead one in two seconds when %s', async (_, wake) => {
    const { server, client, page } = await connected();
    server.silent = true;
    wake(page);
    await pass(1990);
    expect(client.status).toBe('connected');
    await pass(20);
    expect(client.status).not.toBe('connected');
  });

  it('connects again at once after a probe that failed', async () => {
    const { server, client, page } = await connected();
    server.silent = true;
    page.wake();
    await pass(1999);
    server.silent = false;
    await pass(700);
    expect(client.status).toBe('connected');
    expect(client.reconnects).toBe(1);
  });

  it('probes once, however many things happen', async () => {
    const { server, page } = await connected();
    for (const wake of Object.values(ways)) wake(page);
    await settle();
    expect(pings(server)).toBe(1);
  });

  it('does not probe when the page is hidden', async () => {
    const { server, page } = await connected();
    page.document.visibilityState = 'hidden';
    page.wake();
    await settle();
    expect(pings(server)).toBe(0);
  });

  it('makes a planned attempt now', async () => {
    const { server, client, page } = await connected({ environment: { random: () => 0.999 } });
    page.document.visibilityState = 'hidden';
    server.refusing = true;
    server.cut();
    await pass(50_000);
    expect(client.statusDetail.retryAt - Date.now()).toBeGreaterThan(5000);
    page.document.visibilityState = 'visible';
    server.refusing = false;
    page.wake();
    await settle();
    expect(client.status).toBe('connected');
  });

  it('leaves an attempt under way alone', async () => {
    const { server, client, page } = await connected();
    server.cut();
    await pass(6);
    page.wake();
    page.wake();
    page.goOnline();
    await settle();
    expect(client.status).toBe('connected');
    expect(server.urls).toHaveLength(2);
  });
});

describe('without a network', () => {
  it('counts no attempts, and makes few', async () => {
    const { server, client, page } = await connected();
    server.refusing = true;
    server.session = new TypeError('Failed to fetch');
    page.goOffline();
    server.cut();
    await pass(10);
    expect(client.statusDetail).toMatchObject({ reason: 'offline', attempts: 0 });
    await pass(120_000);
    expect(client.statusDetail).toMatchObject({ reason: 'offline', attempts: 0 });
    expect(server.urls.length).toBeLessThan(7);
  });

  it('is back at once when the network is', async () => {
    const { server, client, page } = await connected();
    page.goOffline();
    server.cut();
    await pass(10_000);
    expect(client.status).toBe('disconnected');
    page.goOnline();
    await settle();
    expect(client.status).toBe('connected');
  });

  it('changes its plan when the network goes while it waits', async () => {
    const { server, client, page } = await connected({ environment: { random: () => 0.999 } });
    server.cut();
    await pass(6);
    page.goOffline();
    expect(client.statusDetail.reason).toBe('offline');
    await pass(20_000);
    expect(server.urls).toHaveLength(1);
  });

  it('comes back in the end though the browser wrongly says that there is none', async () => {
    const { server, client, page } = await connected();
    page.navigator.onLine = false;
    server.cut();
    await pass(30_100);
    expect(client.status).toBe('connected');
  });
});

describe('a page that is put aside for "back"', () => {
  it('has no socket and no lock, and takes both again when it is shown', async () => {
    const { server, page, client, tab, browser } = await connected();
    const { instance } = client;
    page.hide();
    await settle();
    expect(server.peers.size).toBe(0);
    expect(client.status).toBe('disconnected');
    expect(client.statusDetail.reason).toBe('hidden');
    const next = browser.tab(tab.storage).load().connect();
    await settle();
    expect(next.client.instance).toBe(instance);
    next.leave();
    page.show();
    await settle();
    expect(client.status).toBe('connected');
    expect(client.instance).toBe(instance);
  });

  it('does nothing while it is away', async () => {
    const { server, page } = await connected();
    page.hide();
    page.wake();
    page.goOnline();
    await pass(300_000);
    expect(server.urls).toHaveLength(1);
  });

  it('gets what it missed', async () => {
    const { server, page } = await connected();
    page.hide();
    await settle();
    server.store('note.text', 'missed');
    page.show();
    await settle();
    expect(page.told('message').map(({ payload }) => payload)).toEqual(['missed']);
  });

  it('keeps its plan to come back', async () => {
    const { server, page, client } = await connected();
    server.cut();
    await pass(6);
    page.hide();
    page.show();
    await settle();
    expect(client.status).toBe('connected');
  });

  it('asks nothing when it is loaded for the first time', async () => {
    const { server, page } = await connected();
    page.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: false }));
    await settle();
    expect(server.urls).toHaveLength(1);
    expect(pings(server)).toBe(0);
  });
});
