import { describe, expect, it } from 'vitest';
import { connected, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const refusal = (code) => Object.assign(new Error('refused'), { code });
const sent = (server) => server.seen.filter(({ type }) => type !== 'ack');

describe('send', () => {
  it('hands a message to the socket, and says so', async () => {
    const { server, client } = await connected();
    expect(client.send('playback.pause', { now: true })).toBe(true);
    expect(client.send('playback.stop')).toBe(true);
    await settle();
    expect(sent(server)).toEqual([
      { type: 'playback.pause', payload: { now: true } },
      { type: 'playback.stop', payload: null },
    ]);
  });

  it('wraps what is for devices', async () => {
    const { server, client } = await connected();
    client.send('note.text', 1, { to: 'others' });
    client.send('audio.volume', 2, {
      to: 4,
      store: 'latest',
      key: 'kitchen',
      ttl: 60,
      messageId: 'm',
    });
    await settle();
    expect(sent(server)).toEqual([
      { type: 'device.send', payload: { to: 'others', type: 'note.text', payload: 1 } },
      {
        type: 'device.send',
        payload: {
          to: 4,
          type: 'audio.volume',
          payload: 2,
          store: 'latest',
          key: 'kitchen',
          ttl: 60,
          message_id: 'm',
        },
      },
    ]);
  });

  it('is false without a connection, while connecting, and after a loss', async () => {
    const { server, client } = await connected();
    client.disconnect();
    expect(client.send('a.b')).toBe(false);
    client.connect();
    expect(client.send('a.b')).toBe(false);
    await pass(8);
    expect(client.status).toBe('connecting');
    expect(client.send('a.b')).toBe(false);
    await settle();
    expect(client.send('a.b')).toBe(true);
    server.cut();
    await pass(6);
    expect(client.send('a.b')).toBe(false);
  });

  it('mends text that was cut inside an emoji, which the server would refuse', async () => {
    const { server, client } = await connected();
    client.send('note.text', { text: '👍'.slice(0, 1), whole: '👍' });
    await settle();
    expect(sent(server)[0].payload).toEqual({ text: '\ufffd', whole: '👍' });
  });

  it('mends names too, and leaves backslashes of the text alone', async () => {
    const { server, client } = await connected();
    const text = '\\ud83d \\\\udc4d "\\';
    client.send('note.text', { ['👍'.slice(1)]: '\\' + '👍'.slice(0, 1), [text]: text });
    await settle();
    expect(sent(server)[0].payload).toEqual({ '\ufffd': '\\\ufffd', [text]: text });
  });

  it('refuses what is too large, in bytes, and keeps the connection', async () => {
    const { server, client } = await connected({
      prepare: (server) => {
        server.maxMessageBytes = 100;
      },
    });
    const thrown = expect(() => client.send('note.text', 'ü'.repeat(40)));
    thrown.toThrow(expect.objectContaining({ code: 'too_large' }));
    await expect(client.request('note.text', 'x'.repeat(100))).rejects.toMatchObject({
      code: 'too_large',
    });
    await settle();
    expect(sent(server)).toEqual([]);
    expect(client.status).toBe('connected');
  });
});

describe('request', () => {
  it('resolves to the reply with its id', async () => {
    const { server, client } = await connected();
    server.replies.set('weather.today', ({ payload }) => ({ type: 'weather.is', payload }));
    const answers = Promise.all([
      client.request('weather.today', 'sun'),
      client.request('weather.today', 'rain'),
    ]);
    await settle();
    expect((await answers).map(({ type, payload }) => [type, payload])).toEqual([
      ['weather.is', 'sun'],
      ['weather.is', 'rain'],
    ]);
  });

  it('wraps what is for devices', async () => {
    const { server, client } = await connected();
    const answer = client.request('note.text', 1, { to: 'user' });
    await settle();
    expect((await answer).payload).toEqual({ delivered: [] });
    expect(sent(server)[0].payload).toEqual({ to: 'user', type: 'note.text', payload: 1 });
  });

  it('rejects with the code of the server', async () => {
    const { server, client, page } = await connected();
    server.replies.set('weather.today', () => refusal('unknown_type'));
    const outcome = expect(client.request('weather.today')).rejects.toMatchObject({
      name: 'SwitchboardError',
      code: 'unknown_type',
      message: 'refused',
    });
    await settle();
    await outcome;
    expect(page.told('error')).toEqual([]);
  });

  it.each(['parse_error', 'rate_limited'])(
    'rejects at once after %s that names no message',
    async (code) => {
      const { server, client, page } = await connected();
      server.replies.set('weather.today', (_, peer) => {
        peer.tell({ type: 'error', payload: { code, message: 'refused' } });
      });
      const outcome = expect(client.request('weather.today')).rejects.toMatchObject({ code });
      await settle();
      await outcome;
      expect(page.told('error').map((error) => error.code)).toEqual([code]);
    },
  );

  it('waits on when another message without an id is refused', async () => {
    const { server, client } = await connected();
    server.replies.set('weather.today', (_, peer) => {
      peer.tell({ type: 'error', payload: { code: 'invalid_message', message: 'no type' } });
      return { type: 'weather.is', payload: 1 };
    });
    const answer = client.request('weather.today');
    await settle();
    expect((await answer).payload).toBe(1);
  });

  it('rejects when no answer comes in time, and takes no late one for a message', async () => {
    const { server, client, page } = await connected();
    let late;
    server.replies.set('weather.today', (message, peer) => {
      late = () => peer.tell({ type: 'weather.is', payload: 1, reply_to: message.id });
    });
    const outcome = expect(
      client.request('weather.today', null, { timeout: 500 }),
    ).rejects.toMatchObject({ code: 'timeout' });
    await pass(501);
    await outcome;
    late();
    await settle();
    expect(page.told('message')).toEqual([]);
  });

  it('rejects at once without a connection', async () => {
    const { client } = await connected();
    client.disconnect();
    await expect(client.request('weather.today')).rejects.toMatchObject({ code: 'not_connected' });
  });

  it.each([
    ['the connection is lost', ({ server }) => server.cut()],
    ['the user disconnects', ({ client }) => client.disconnect()],
    ['the page is put aside', ({ page }) => page.hide()],
  ])('rejects when %s', async (_, lose) => {
    const scene = await connected();
    scene.server.replies.set('weather.today', () => undefined);
    const outcome = expect(scene.client.request('weather.today')).rejects.toMatchObject({
      code: 'disconnected',
    });
    lose(scene);
    await settle();
    await outcome;
  });

  it('can be made inside of a handler', async () => {
    const { server, client } = await connected();
    const answers = [];
    client.registerHandler('note', async () => {
      answers.push((await client.request('weather.today')).type);
    });
    server.store('note.text');
    await settle();
    expect(answers).toEqual(['ok']);
    expect(client.position.offset).toBe(1);
  });
});

describe('a request that the server is too busy for', () => {
  /** Half of each longest wait: 250, 500, 1000 … ms. */
  const environment = { random: () => 0.5 };

  /** The first so many are answered `busy`; returns when each came. */
  function busy(server, times) {
    const at = [];
    server.replies.set('weather.today', () => {
      at.push(Date.now());
      return at.length > times ? { type: 'weather.is', payload: 'sun' } : refusal('busy');
    });
    return at;
  }

  it('is sent again as it was, after longer and longer waits', async () => {
    const { server, client, page } = await connected({ environment });
    const at = busy(server, 3);
    const answer = client.request('weather.today', { in: 'Rome' });
    await pass(3000);
    expect((await answer).payload).toBe('sun');
    expect(at.slice(1).map((time, nth) => time - at[nth])).toEqual([260, 510, 1010]);
    const asked = sent(server).map(({ type, payload }) => [type, payload]);
    expect(asked).toEqual(Array(4).fill(['weather.today', { in: 'Rome' }]));
    expect(page.told('error')).toEqual([]);
  });

  it('spreads over the whole wait by chance', async () => {
    const draws = [];
    const environment = { random: () => draws.shift() ?? 0.5 };
    const { server, client } = await connected({ environment });
    draws.push(0.1, 0.9);
    const at = busy(server, 2);
    const answer = client.request('weather.today');
    await pass(2000);
    await answer;
    expect(at.slice(1).map((time, nth) => time - at[nth])).toEqual([60, 910]);
  });

  it('rejects with busy once its time is over, and is not sent after that', async () => {
    const { server, client } = await connected({ environment });
    const at = busy(server, Infinity);
    const outcome = expect(
      client.request('weather.today', null, { timeout: 2000 }),
    ).rejects.toMatchObject({ code: 'busy', message: 'refused' });
    await pass(2001);
    await outcome;
    const tries = at.length;
    expect(tries).toBe(4);
    await pass(20_000);
    expect(at).toHaveLength(tries);
  });

  it('rejects with timeout when the repeat got no answer: it may have been done', async () => {
    const { server, client } = await connected({ environment });
    server.replies.set('weather.today', () => {
      server.replies.set('weather.today', () => undefined);
      return refusal('busy');
    });
    const outcome = expect(
      client.request('weather.today', null, { timeout: 2000 }),
    ).rejects.toMatchObject({ code: 'timeout' });
    await pass(2001);
    await outcome;
    expect(sent(server)).toHaveLength(2);
  });

  it('rejects when the connection is lost, and is not sent on the next one', async () => {
    const { server, client } = await connected({ environment });
    busy(server, Infinity);
    const outcome = expect(client.request('weather.today')).rejects.toMatchObject({
      code: 'disconnected',
    });
    await pass(100);
    server.cut();
    await pass(10);
    await outcome;
    await pass(20_000);
    expect(client.status).toBe('connected');
    expect(sent(server)).toHaveLength(1);
  });

  it('rejects when the socket takes the repeat no more', async () => {
    const { server, client } = await connected({ environment });
    busy(server, Infinity);
    const outcome = expect(client.request('weather.today')).rejects.toMatchObject({
      code: 'not_connected',
    });
    await pass(100);
    const [peer] = server.peers;
    peer.socket.readyState = 2;
    await pass(200);
    await outcome;
  });

  it('is not what an error without a name is about while it waits', async () => {
    const { server, client } = await connected({ environment });
    busy(server, 1);
    const answer = client.request('weather.today');
    await pass(100);
    server.push('error', { code: 'rate_limited', message: 'too fast' });
    await pass(300);
    expect((await answer).payload).toBe('sun');
  });

  it('is only told when it asked for no answer', async () => {
    const { server, client, page } = await connected({ environment });
    server.replies.set('weather.today', (_, peer) => {
      peer.tell({ type: 'error', payload: { code: 'busy', message: 'refused' } });
    });
    client.send('weather.today');
    await pass(20_000);
    expect(page.told('error').map(({ code }) => code)).toEqual(['busy']);
    expect(sent(server)).toHaveLength(1);
  });
});

describe('a request that the server had no time for', () => {
  it.each([
    ['to a feature', 'weather.today', {}],
    ['to devices', 'device.send', { to: 'others', store: 'log', messageId: 'mine' }],
  ])('%s rejects at once, and is never sent again', async (_, wire, options) => {
    const { server, client } = await connected();
    server.replies.set(wire, () => refusal('timed_out'));
    const outcome = expect(client.request('weather.today', null, options)).rejects.toMatchObject({
      code: 'timed_out',
    });
    await settle();
    await outcome;
    await pass(20_000);
    expect(sent(server)).toHaveLength(1);
  });
});

describe('ping', () => {
  it('resolves to the milliseconds of a round trip, and tells them', async () => {
    const { client, page } = await connected();
    const took = client.ping();
    await settle();
    expect(await took).toBe(10);
    expect(page.told('latency')).toEqual([10]);
  });
});
