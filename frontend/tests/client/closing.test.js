import { describe, expect, it } from 'vitest';
import { Backoff } from '../../client/backoff.js';
import { closeOf, CLOSES } from '../../client/closes.js';
import { connected, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const longest = { environment: { random: () => 0.999 } };

describe('back-off', () => {
  it('is at most half a second at first, doubles, and ends at thirty', () => {
    const backoff = new Backoff(() => 1);
    const waits = Array.from({ length: 9 }, () => backoff.next());
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
  });

  it('is at most what it is told', () => {
    const backoff = new Backoff(() => 1);
    const waits = Array.from({ length: 6 }, () => backoff.next(5000));
    expect(waits).toEqual([500, 1000, 2000, 4000, 5000, 5000]);
  });

  it('takes any time between none and the most', () => {
    const backoff = new Backoff(() => 0);
    expect(backoff.next()).toBe(0);
  });

  it('stays at its most for ever', () => {
    const backoff = new Backoff(() => 1);
    for (let i = 0; i < 2000; i++) backoff.next();
    expect(backoff.next()).toBe(30000);
  });
});

describe('a close', () => {
  it.each(CLOSES)('%i %s says whether to come back: %s', async (code, reason, reconnect) => {
    const { server, client } = await connected(longest);
    server.close(code, reason);
    await settle();
    expect(client.statusDetail).toMatchObject({ code, reason });
    await pass(60_000);
    expect(server.urls).toHaveLength(reconnect ? 2 : 1);
  });

  it.each([
    [1000, 'replaced', 'disconnected'],
    [1000, 'too_many', 'disconnected'],
    [1000, 'signed_out', 'signed-out'],
    [4501, 'session_expired', 'signed-out'],
    [4502, 'revoked', 'signed-out'],
    [4503, 'abuse', 'disconnected'],
  ])('%i %s ends as %s, without a plan', async (code, reason, status) => {
    const { server, client, page } = await connected();
    server.close(code, reason);
    await settle();
    expect(client.status).toBe(status);
    expect(client.statusDetail).toEqual({ code, reason, attempts: 0 });
    page.wake();
    page.goOnline();
    await pass(60_000);
    expect(server.urls).toHaveLength(1);
  });

  it.each([
    [1000, 'new_reason', false],
    [1000, '', false],
    [4599, 'new_reason', false],
    [4500, '', false],
    [4099, 'new_reason', true],
    [1006, '', true],
    [1012, '', true],
    [4600, '', true],
  ])('%i %j that is not known goes by its range', (code, reason, reconnect) => {
    expect(closeOf(code, reason)).toEqual({ code, reason: reason || 'lost', reconnect });
  });

  it('of a known number of ours needs no reason', () => {
    expect(closeOf(4502, '')).toEqual({ code: 4502, reason: 'revoked', reconnect: false });
  });

  it('after which the user calls connect is answered by a new connection', async () => {
    const { server, client } = await connected();
    server.close(1000, 'replaced');
    await settle();
    client.connect();
    await settle();
    expect(client.status).toBe('connected');
  });
});

describe('goaway', () => {
  it('is waited out before the random time', async () => {
    const { server, page, client } = await connected({ environment: { random: () => 0.5 } });
    const now = Date.now();
    server.close(1001, 'shutting_down', { goaway: { reconnect: true, after_ms: 3000 } });
    await pass(5);
    expect(client.statusDetail.retryAt).toBe(now + 5 + 3000 + 250);
    await pass(3249);
    expect(server.urls).toHaveLength(1);
    await pass(100);
    expect(client.status).toBe('connected');
    expect(page.told('goaway')).toEqual([
      { reason: 'shutting_down', reconnect: true, after_ms: 3000 },
    ]);
  });

  it('counts when the close frame was lost', async () => {
    const { server, client } = await connected();
    server.close(1006, '', { goaway: { reconnect: false, after_ms: 0 } });
    await pass(60_000);
    expect(client.status).toBe('disconnected');
    expect(server.urls).toHaveLength(1);
  });

  it('that ends the session ends it also when the close frame was lost', async () => {
    const { server, client } = await connected();
    for (const peer of server.peers) {
      peer.tell({ type: 'goaway', payload: { reason: 'revoked', reconnect: false, after_ms: 0 } });
    }
    await settle();
    server.cut();
    await settle();
    expect(client.status).toBe('signed-out');
  });

  it('after which nothing is heard any more still holds', async () => {
    const { server, client, page } = await connected();
    for (const peer of server.peers) {
      peer.tell({ type: 'goaway', payload: { reason: 'replaced', reconnect: false, after_ms: 0 } });
    }
    await settle();
    server.silent = true;
    page.wake();
    await pass(2100);
    expect(client.statusDetail).toEqual({ reason: 'replaced', attempts: 0 });
    server.silent = false;
    await pass(60_000);
    expect(server.urls).toHaveLength(1);
  });

  it('that asks to wait is waited out also when nothing is heard any more', async () => {
    const { server, client } = await connected();
    for (const peer of server.peers) {
      const payload = { reason: 'shutting_down', reconnect: true, after_ms: 30_000 };
      peer.tell({ type: 'goaway', payload });
    }
    await settle();
    server.silent = true;
    await pass(68_000);
    expect(client.statusDetail.reason).toBe('shutting_down');
    expect(client.statusDetail.retryAt).toBeGreaterThan(Date.now() + 20_000);
  });

  it('is not cut short by a page that wakes up', async () => {
    const { server, page } = await connected();
    server.close(1001, 'shutting_down', { goaway: { reconnect: true, after_ms: 3000 } });
    await pass(10);
    page.wake();
    page.goOffline();
    page.goOnline();
    await pass(2900);
    expect(server.urls).toHaveLength(1);
    page.wake();
    await pass(200);
    page.wake();
    await settle();
    expect(server.urls).toHaveLength(2);
  });

  it.each([
    ['the page is hidden and seen again', (page) => page.wake()],
    ['the network was gone', (page) => page.goOnline()],
  ])('is over when it says, also if %s meanwhile', async (_, back) => {
    const { server, client, page } = await connected(longest);
    page.document.visibilityState = 'hidden';
    server.refusing = true;
    server.cut();
    await pass(200_000);
    server.refusing = false;
    page.goOffline();
    client.connect();
    await settle();
    server.holding = true;
    server.close(1001, 'shutting_down', { goaway: { reconnect: true, after_ms: 3000 } });
    await pass(10);
    page.document.visibilityState = 'visible';
    back(page);
    expect(client.statusDetail.retryAt - Date.now()).toBeGreaterThan(2900);
    const tried = server.urls.length;
    await pass(2900);
    expect(server.urls).toHaveLength(tried);
    await pass(700);
    expect(server.urls).toHaveLength(tried + 1);
  });

  it.each([
    [1013, 'overloaded'],
    [4003, 'rate_limit'],
  ])('%i is no reason to hurry, though the page is seen', async (code, reason) => {
    const { server, client } = await connected(longest);
    server.holding = true;
    for (let i = 0; i < 7; i++) {
      client.connect();
      await settle();
      server.close(code, reason);
      await settle();
    }
    expect(client.statusDetail.retryAt - Date.now()).toBeGreaterThan(20_000);
  });

  it('is cut short by a user who asks for it', async () => {
    const { server, client } = await connected();
    server.close(1001, 'shutting_down', { goaway: { reconnect: true, after_ms: 3000 } });
    await pass(10);
    client.connect();
    await settle();
    expect(client.status).toBe('connected');
  });
});

describe('a lost connection', () => {
  it('is followed by attempts further and further apart, until one works', async () => {
    const { server, client, page } = await connected(longest);
    server.refusing = true;
    server.cut();
    await pass(60_000);
    const waits = page.told('status').filter((status) => status === 'connecting').length;
    expect(waits).toBe(15);
    expect(client.statusDetail.attempts).toBe(15);
    server.refusing = false;
    await pass(30_000);
    expect(client.status).toBe('connected');
    expect(client.statusDetail).toEqual({ attempts: 0 });
  });

  it('is back within five seconds of the server, however long that was away', async () => {
    const { server, client } = await connected(longest);
    server.refusing = true;
    server.cut();
    for (let i = 0; i < 30; i++) {
      await pass(20_003);
      expect(client.statusDetail.retryAt - Date.now()).toBeLessThan(5000);
    }
    server.refusing = false;
    await pass(5100);
    expect(client.status).toBe('connected');
  });

  it('is tried rarely in the end while nobody sees the page, and at once when it is seen', async () => {
    const { server, client, page } = await connected(longest);
    page.document.visibilityState = 'hidden';
    server.refusing = true;
    server.cut();
    await pass(600_000);
    expect(client.statusDetail.attempts).toBeLessThan(30);
    const tried = server.urls.length;
    server.refusing = false;
    page.document.visibilityState = 'visible';
    page.wake();
    await settle();
    expect(server.urls).toHaveLength(tried + 1);
    expect(client.status).toBe('connected');
  });

  it('is tried rarely in the end where there is no page', async () => {
    const { server, client } = await connected({
      environment: { random: () => 0.999, document: undefined },
    });
    server.refusing = true;
    server.cut();
    await pass(600_000);
    expect(client.statusDetail.attempts).toBeLessThan(30);
  });

  it('that never turned live does not begin the back-off anew', async () => {
    const { server, client } = await connected(longest);
    server.holding = true;
    for (let i = 0; i < 5; i++) {
      server.close(1011, 'internal');
      await settle();
      client.connect();
      await settle();
    }
    server.close(1011, 'internal');
    await settle();
    expect(client.statusDetail.attempts).toBe(6);
  });

  it('tells when the next attempt is', async () => {
    const { server, client } = await connected({ environment: { random: () => 0.5 } });
    const now = Date.now();
    server.cut();
    await pass(5);
    expect(client.status).toBe('disconnected');
    expect(client.statusDetail).toEqual({
      reason: 'lost',
      code: 1006,
      retryAt: now + 250,
      attempts: 1,
    });
    expect(client.connectionId).toBeNull();
  });
});

describe('a refused upgrade', () => {
  const refused = async (session, options) => {
    const scene = await connected({
      ...longest,
      options,
      prepare: (server) => {
        server.refusing = true;
        server.session = session;
      },
    });
    return scene;
  };

  it('asks whether the session holds, with the token', async () => {
    const { server } = await refused({ status: 200 }, { token: 'secret-1' });
    expect(server.asked).toEqual([
      {
        url: 'http://switchboard.example/v1/auth/session',
        headers: { Authorization: 'Bearer secret-1' },
      },
    ]);
  });

  it('ends as signed-out after 401', async () => {
    const { server, client } = await refused({ status: 401 });
    expect(client.status).toBe('signed-out');
    expect(client.statusDetail).toEqual({ reason: 'session_expired', attempts: 0 });
    await pass(60_000);
    expect(server.urls).toHaveLength(1);
    expect(server.asked).toHaveLength(1);
  });

  it('waits for Retry-After after 503', async () => {
    const { server, client } = await refused({ status: 503, headers: { 'Retry-After': '7' } });
    expect(client.status).toBe('disconnected');
    server.refusing = false;
    await pass(6900);
    expect(server.urls).toHaveLength(1);
    await pass(800);
    expect(client.status).toBe('connected');
  });

  it.each([200, 403, 404, 500])('backs off after %i', async (status) => {
    const { server, client } = await refused({ status });
    expect(client.statusDetail).toMatchObject({ reason: 'refused', attempts: 1 });
    server.refusing = false;
    await pass(700);
    expect(client.status).toBe('connected');
  });

  it('backs off when nobody answers either', async () => {
    const { client, server } = await refused(new TypeError('Failed to fetch'));
    expect(client.statusDetail).toMatchObject({ reason: 'unreachable', attempts: 1 });
    await pass(600);
    expect(server.urls).toHaveLength(2);
  });

  it('backs off when the answer does not come', async () => {
    const { client, server } = await connected({
      ...longest,
      prepare: (server) => {
        server.refusing = true;
      },
    });
    server.silent = true;
    server.refusing = false;
    client.disconnect();
    server.silent = false;
    server.refusing = true;
    client.connect();
    await pass(11);
    server.silent = true;
    await pass(10_010);
    expect(client.statusDetail).toMatchObject({ reason: 'unreachable' });
  });

  it('backs off when the token for asking does not come', async () => {
    const tokens = ['first', new Promise(() => {})];
    const token = () => (tokens.length ? tokens.shift() : 'later');
    const { client, server } = await refused({ status: 200 }, { token });
    server.refusing = false;
    expect(client.status).toBe('connecting');
    await pass(10_000);
    expect(client.statusDetail).toMatchObject({ reason: 'unreachable', attempts: 1 });
    expect(server.asked).toEqual([]);
    await pass(600);
    expect(client.status).toBe('connected');
  });

  it('is asked about once, and forgotten when disconnected meanwhile', async () => {
    const { server, client, page } = await connected();
    client.disconnect();
    server.refusing = true;
    server.session = { status: 401 };
    client.connect();
    await pass(11);
    client.disconnect();
    server.refusing = false;
    client.connect();
    await pass(1000);
    expect(client.status).toBe('connected');
    expect(page.told('status')).not.toContain('signed-out');
    expect(server.asked).toHaveLength(1);
  });
});

describe('signing out', () => {
  it('throws away the position and what waits to be sent', async () => {
    const { server, client, tab } = await connected();
    server.store('note.text');
    await settle();
    server.replies.set('device.send', () => undefined);
    const sent = client.send('note.text', 'secret', { to: 'others', durable: true });
    const outcome = expect(sent).rejects.toMatchObject({ code: 'signed_out' });
    server.close(1000, 'signed_out');
    await settle();
    await outcome;
    expect(client.position).toBeNull();
    expect(client.deviceId).toBeNull();
    expect(client.outboxSize).toBe(0);
    expect(JSON.stringify([...tab.storage.values])).not.toContain('secret');
    expect(tab.storage.read('position')).toBeUndefined();
  });

  it('is what disconnect with forget does to what is kept', async () => {
    const { server, client, tab } = await connected();
    server.store('note.text');
    await settle();
    client.disconnect({ forget: true });
    expect(client.position).toBeNull();
    expect(tab.storage.read('position')).toBeUndefined();
  });

  it('lets another user begin without a position, and without what the first left', async () => {
    const { server, client, page } = await connected();
    server.store('note.text');
    await settle();
    client.disconnect();
    const left = client.send('note.text', 'of the first', { to: 'others', durable: true });
    const outcome = expect(left).rejects.toMatchObject({ code: 'signed_out' });
    server.user = 2;
    client.connect();
    await settle();
    await outcome;
    expect(client.status).toBe('connected');
    expect(server.urls).toHaveLength(3);
    expect(server.urls[2].searchParams.get('epoch')).toBeNull();
    expect(server.urls[2].searchParams.get('snapshot')).toBe('1');
    expect(server.seen.some(({ type }) => type === 'device.send')).toBe(false);
    expect(page.told('error')).toEqual([]);
  });
});
