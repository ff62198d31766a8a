import { describe, expect, it, vi } from 'vitest';
import { Token } from '../../client/token.js';
import { connected, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const HOUR = 3600;

/** A token service that counts, and whose next answers can be scripted. */
function tokens(...scripted) {
  let count = 0;
  return vi.fn(async () => {
    const next = scripted.length ? scripted.shift() : `token-${++count}`;
    if (next instanceof Error) throw next;
    return next;
  });
}

const refreshed = (server) =>
  server.seen.filter(({ type }) => type === 'token.refresh').map(({ payload }) => payload.token);

const used = (server) => server.protocols.map(([, bearer]) => bearer?.replace('bearer.', ''));

/** A page with a function for its token, connected to a server on which tokens end. */
function scene(token, { expiresIn = HOUR, prepare, ...more } = {}) {
  return connected({
    options: { token },
    prepare: (server) => {
      server.expiresIn = expiresIn;
      prepare?.(server);
    },
    ...more,
  });
}

function refusal(code) {
  return Object.assign(new Error(code), { code });
}

describe('a token that ends', () => {
  it('is followed by the next one at 80 % of its time, and by the next again', async () => {
    const token = tokens();
    const { server, client } = await scene(token);
    await pass(0.8 * HOUR * 1000 - 200);
    expect(token).toHaveBeenCalledTimes(1);
    await pass(400);
    expect(token).toHaveBeenCalledTimes(2);
    expect(refreshed(server)).toEqual(['token-2']);
    await pass(24 * HOUR * 1000);
    expect(token).toHaveBeenCalledTimes(31);
    expect(refreshed(server)).toHaveLength(30);
    expect(server.urls).toHaveLength(1);
    expect(client.status).toBe('connected');
  });

  it('in a year is not asked for at once, though no timer is as long', async () => {
    const waits = [];
    const environment = {
      random: () => 0,
      setTimeout: (work, ms) => setTimeout(work, waits.push(ms) && ms),
      clearTimeout: (timer) => clearTimeout(timer),
    };
    const refresh = vi.fn(async () => ({ payload: { delivered: [] } }));
    new Token(environment, tokens(), { refresh }).begin(366 * 24 * HOUR);
    await pass(292 * 24 * HOUR * 1000);
    expect(refresh).not.toHaveBeenCalled();
    await pass(24 * HOUR * 1000);
    expect(refresh).toHaveBeenCalledTimes(1);
    expect(Math.max(...waits)).toBe(2 ** 31 - 1);
  });

  it('at once is asked for every second at most', async () => {
    const token = tokens();
    await scene(token, { expiresIn: 0 });
    await pass(10_000);
    expect(token.mock.calls.length).toBeGreaterThan(8);
    expect(token.mock.calls.length).toBeLessThanOrEqual(11);
  });

  it('is asked for no more when the next one has no end', async () => {
    const token = tokens();
    const { server } = await scene(token);
    server.expiresIn = undefined;
    await pass(24 * HOUR * 1000);
    expect(token).toHaveBeenCalledTimes(2);
  });

  it.each([undefined, 'fixed'])('and is %s has no follower', async (token) => {
    const { server } = await scene(token);
    await pass(2 * HOUR * 1000);
    expect(refreshed(server)).toEqual([]);
  });

  it('is asked for by the connection that there is, and by no earlier one', async () => {
    const token = tokens();
    const { server, client } = await scene(token);
    await pass(0.5 * HOUR * 1000);
    server.cut();
    await pass(1000);
    client.disconnect();
    client.connect();
    await settle();
    expect(token).toHaveBeenCalledTimes(3);
    await pass(0.7 * HOUR * 1000);
    expect(token).toHaveBeenCalledTimes(3);
    await pass(0.2 * HOUR * 1000);
    expect(refreshed(server)).toEqual(['token-4']);
    client.disconnect();
    await pass(5 * HOUR * 1000);
    expect(token).toHaveBeenCalledTimes(4);
  });

  it('that arrives for a connection that is gone is dropped', async () => {
    let give;
    const slow = new Promise((resolve) => (give = resolve));
    const token = tokens('first', slow, 'third');
    const { server } = await scene(token);
    await pass(0.8 * HOUR * 1000);
    server.cut();
    await pass(1000);
    give('late');
    await settle();
    expect(refreshed(server)).toEqual([]);
    expect(used(server)).toEqual(['first', 'third']);
  });
});

describe('a next token that cannot be had', () => {
  it('is asked for again with a growing pause, while the old one goes on', async () => {
    const down = Array.from({ length: 5 }, () => new Error('service down'));
    const token = tokens('first', ...down, 'second');
    const { server, client, page } = await scene(token, { environment: { random: () => 1 } });
    await pass(0.8 * HOUR * 1000);
    expect(token).toHaveBeenCalledTimes(2);
    await pass(500 + 1000 + 2000 + 4000);
    expect(token).toHaveBeenCalledTimes(6);
    await pass(8100);
    expect(refreshed(server)).toEqual(['second']);
    expect(page.told('error').map(String)).toEqual(down.map(String));
    expect(server.urls).toHaveLength(1);
    expect(client.status).toBe('connected');
  });

  it('for somebody else is refused once, and asked for again', async () => {
    const token = tokens('first', 'foreign', 'foreign', 'foreign', 'second');
    const { server, client, page } = await scene(token, {
      prepare: (server) =>
        server.replies.set('token.refresh', ({ payload }) =>
          payload.token === 'foreign'
            ? refusal('invalid_token')
            : { type: 'ok', payload: { delivered: [], expires_in: HOUR } },
        ),
    });
    server.store('note.text');
    await pass(0.8 * HOUR * 1000 + 10_000);
    expect(refreshed(server)).toEqual(['foreign', 'second']);
    expect(page.told('error').map(({ code }) => code)).toEqual(['invalid_token']);
    expect(client.position.offset).toBe(1);
    expect(server.urls).toHaveLength(1);
  });

  it('is sent again when the server was busy', async () => {
    const answers = [refusal('busy'), { type: 'ok', payload: { delivered: [] } }];
    const { server } = await scene(tokens(), {
      prepare: (server) => server.replies.set('token.refresh', () => answers.shift()),
    });
    await pass(0.8 * HOUR * 1000 + 2000);
    expect(refreshed(server)).toEqual(['token-2', 'token-2']);
  });

  it('since there is none is a sign-out that keeps position and outbox', async () => {
    const { server, client, tab } = await scene(tokens('first', undefined));
    server.store('note.text');
    await settle();
    server.replies.set('device.send', () => undefined);
    client.send('note.text', 'mine', { to: 'others', durable: true }).catch(() => {});
    await pass(0.8 * HOUR * 1000);
    expect(client.status).toBe('signed-out');
    expect(client.statusDetail).toEqual({ reason: 'no_token', attempts: 0 });
    expect(client.position).toMatchObject({ offset: 1 });
    expect(client.outboxSize).toBe(1);
    expect(tab.storage.read('position')).toMatchObject({ offset: 1 });
    expect(server.peers.size).toBe(0);
    await pass(HOUR * 1000);
    expect(server.urls).toHaveLength(1);
  });
});

/** Ends all connections as the server does at the end of their token. */
const expire = (server) =>
  server.close(4501, 'session_expired', { goaway: { reconnect: false, after_ms: 0 } });

describe('an expired session', () => {
  it('with a function is one more loss: nothing is missed and nothing is discarded', async () => {
    const { server, client, page } = await scene(tokens());
    server.store('note.text', 'before');
    await settle();
    server.replies.set('device.send', () => undefined);
    const sent = client.send('note.text', 'kept', { to: 'others', durable: true });
    await settle();
    expire(server);
    server.store('note.text', 'meanwhile');
    server.replies.delete('device.send');
    await pass(1000);
    expect((await sent).offset).toBe(3);
    expect(page.told('message').map(({ payload }) => payload)).toEqual([
      ...['before', 'meanwhile', 'kept'],
    ]);
    expect(used(server)).toEqual(['token-1', 'token-2']);
    expect(server.urls[1].searchParams.get('offset')).toBe('1');
    expect(page.told('reset')).toEqual([]);
    expect(page.told('status')).not.toContain('signed-out');
  });

  it('that only the goaway told is the same', async () => {
    const { server, client } = await scene(tokens());
    server.close(1006, '', {
      goaway: { reason: 'session_expired', reconnect: false, after_ms: 0 },
    });
    await pass(1000);
    expect(client.status).toBe('connected');
    expect(used(server)).toEqual(['token-1', 'token-2']);
  });

  it('found at the upgrade is the same', async () => {
    const { server, client } = await scene(tokens());
    server.store('note.text');
    await settle();
    server.refusing = true;
    server.session = { status: 401 };
    server.cut();
    await pass(5000);
    expect(client.status).not.toBe('signed-out');
    expect(client.statusDetail.attempts).toBeGreaterThan(1);
    server.refusing = false;
    await pass(10_000);
    expect(client.status).toBe('connected');
    expect(server.urls.at(-1).searchParams.get('offset')).toBe('1');
  });

  it('whose token comes again and again is tried further and further apart', async () => {
    const { server, client } = await scene(tokens(...Array(99).fill('ended')), {
      environment: { random: () => 1 },
    });
    server.refusing = true;
    server.session = { status: 401 };
    expire(server);
    await pass(60_000);
    expect(server.urls).toHaveLength(15);
    server.refusing = false;
    await pass(30_000);
    expect(client.status).toBe('connected');
  });

  it.each([undefined, 'fixed'])('with %s signs out, and keeps what it has', async (token) => {
    const { server, client, tab } = await connected({ options: { token } });
    server.store('note.text');
    await settle();
    server.replies.set('device.send', () => undefined);
    const sent = client.send('note.text', 'kept', { to: 'others', durable: true });
    await settle();
    expire(server);
    await settle();
    expect(client.status).toBe('signed-out');
    expect(client.outboxSize).toBe(1);
    expect(tab.storage.read('position')).toMatchObject({ offset: 1 });
    server.store('note.text');
    server.replies.delete('device.send');
    client.connect();
    await settle();
    expect(server.urls[1].searchParams.get('offset')).toBe('1');
    expect((await sent).offset).toBe(3);
  });

  it('of a page whose function has no token signs out, and keeps what it has', async () => {
    const { server, client } = await scene(tokens('first', undefined, 'later'));
    server.store('note.text');
    await settle();
    expire(server);
    await pass(1000);
    expect(client.status).toBe('signed-out');
    expect(client.statusDetail.reason).toBe('no_token');
    expect(client.position).toMatchObject({ offset: 1 });
    await pass(60_000);
    expect(server.urls).toHaveLength(1);
    client.connect();
    await settle();
    expect(client.status).toBe('connected');
    expect(used(server)).toEqual(['first', 'later']);
    expect(server.urls[1].searchParams.get('offset')).toBe('1');
  });

  it('followed by the token of another user leaves nothing of the first', async () => {
    const { server, client, tab } = await scene(tokens());
    server.store('note.text');
    await settle();
    server.replies.set('device.send', () => undefined);
    const sent = client.send('note.text', 'secret', { to: 'others', durable: true });
    const outcome = expect(sent).rejects.toMatchObject({ code: 'signed_out' });
    server.user = 2;
    expire(server);
    await pass(1000);
    await outcome;
    expect(client.status).toBe('connected');
    expect(JSON.stringify([...tab.storage.values])).not.toContain('secret');
    expect(server.urls.at(-1).searchParams.get('epoch')).toBeNull();
  });
});

describe('a session that was ended', () => {
  it.each([
    [1000, 'signed_out'],
    [4502, 'revoked'],
  ])('by %i %s discards all, whatever the app could ask for', async (code, reason) => {
    const token = tokens();
    const { server, client } = await scene(token);
    server.store('note.text');
    await settle();
    server.close(code, reason, { goaway: { reconnect: false, after_ms: 0 } });
    await pass(60_000);
    expect(client.status).toBe('signed-out');
    expect(client.position).toBeNull();
    expect(token).toHaveBeenCalledTimes(1);
  });
});
