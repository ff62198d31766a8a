import { describe, expect, it } from 'vitest';
import { connected, gate, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const acks = (server) =>
  server.seen.filter(({ type }) => type === 'ack').map(({ payload }) => payload.offset);

describe('what is still kept after a reset', () => {
  const news = (page) =>
    page.told('message').map(({ payload, replayed }) => (replayed ? ['old', payload] : payload));

  /** A page that has `a` and comes back to find `b` removed, while `c` and `d` are kept. */
  const late = async (change = () => {}) => {
    const scene = await connected();
    const { server } = scene;
    server.store('note.text', 'a');
    await settle();
    server.cut();
    for (const payload of ['b', 'c', 'd']) server.store('note.text', payload);
    server.expire(2);
    change(scene);
    await pass(700);
    return scene;
  };

  it('follows from the own position, marked for handlers and listeners', async () => {
    const heard = [];
    const { client, server, page } = await late(({ client }) => {
      client.registerHandler('note', (_type, payload, { replayed }) =>
        heard.push([payload, replayed]),
      );
    });
    server.store('note.text', 'e');
    await settle();
    expect(news(page)).toEqual(['a', ['old', 'c'], ['old', 'd'], 'e']);
    expect(heard).toEqual([
      ['c', true],
      ['d', true],
      ['e', undefined],
    ]);
    expect(client.position).toEqual({ epoch: 'epoch-1', offset: 5 });
  });

  it('waits until the state has been fetched', async () => {
    const { closed, open } = gate();
    const { page, client } = await late(({ client }) => client.on('reset', () => closed));
    expect(news(page)).toEqual(['a']);
    expect(client.lag).toBe(3);
    open();
    await settle();
    expect(news(page)).toEqual(['a', ['old', 'c'], ['old', 'd']]);
  });

  it('comes after the current values, and acknowledges nothing before them', async () => {
    const { page, server } = await late(({ server }) => {
      server.store('audio.volume', 55, { key: 'kitchen' });
      server.holding = true;
    });
    await pass(1000);
    expect(news(page)).toEqual(['a', 55]);
    expect(acks(server)).not.toContain(5);
    server.release();
    await pass(300);
    expect(news(page)).toEqual(['a', 55, ['old', 'c'], ['old', 'd'], ['old', 55]]);
    expect(acks(server).at(-1)).toBe(5);
  });

  it('is a replay too when the connection breaks amid it and is resumed', async () => {
    const { page, server } = await late(({ client, server }) => {
      client.registerHandler('note', (_type, payload) => {
        if (payload === 'c') server.cut();
      });
    });
    server.store('note.text', 'e');
    await pass(2000);
    expect(page.told('resume').map(({ outcome }) => outcome)).toEqual(['live', 'reset', 'resumed']);
    expect(news(page)).toEqual(['a', ['old', 'c'], ['old', 'd'], 'e']);
    expect(page.told('reset')).toHaveLength(1);
  });

  it('is a replay too after a reload amid it', async () => {
    const { tab, server, page } = await late(({ client, server }) => {
      client.registerHandler('note', (_type, payload) => {
        if (payload !== 'c') return;
        server.refusing = true;
        server.cut();
      });
    });
    expect(news(page)).toEqual(['a', ['old', 'c']]);
    expect(tab.storage.read('position')).toMatchObject({ offset: 3, head: 4 });
    server.refusing = false;
    const next = tab.reload();
    server.store('note.text', 'e');
    next.connect();
    await settle();
    expect(news(next)).toEqual([['old', 'd'], 'e']);
  });

  it('is a replay too after a start of the server amid it', async () => {
    const { page, server } = await late(({ client, server }) => {
      client.registerHandler('note', (_type, payload) => {
        if (payload === 'c') server.restart();
      });
    });
    await pass(2000);
    expect(news(page)).toEqual(['a', ['old', 'c'], ['old', 'd']]);
    server.store('note.text', 'e');
    await settle();
    expect(news(page).at(-1)).toBe('e');
  });

  it('is none for a page of before, whose stored position names no head', async () => {
    const { tab, server } = await connected();
    server.store('note.text', 'a');
    await settle();
    for (const [key, value] of tab.storage.values) {
      tab.storage.setItem(key, value.replace(',"head":0', ''));
    }
    expect(tab.storage.read('position')).not.toHaveProperty('head');
    server.cut();
    server.store('note.text', 'b');
    const next = tab.reload().connect();
    await settle();
    expect(news(next)).toEqual(['b']);
  });

  it('ends with another reset, which names another head', async () => {
    const { page, server } = await late(({ client, server }) => {
      client.registerHandler('note', (_type, payload) => {
        if (payload !== 'c') return;
        server.refusing = true;
        server.cut();
      });
    });
    server.refusing = false;
    server.beginEpoch('epoch-2');
    await pass(2000);
    server.store('note.text', 'e');
    await settle();
    expect(page.told('reset')).toHaveLength(2);
    expect(news(page)).toEqual(['a', ['old', 'c'], 'e']);
  });

  it('is handled once when a handler ends while the server says reset', async () => {
    const { server, client, page } = await connected();
    const { closed, open } = gate();
    const heard = [];
    client.registerHandler('note', async (_type, payload, { snapshot, replayed }) => {
      heard.push([payload, snapshot ? 'value' : replayed ? 'old' : 'new']);
      if (payload === 'a') await closed;
    });
    server.store('note.text', 'x');
    server.store('note.text', 'a', { key: 'kept whatever is removed' });
    await settle();
    server.cut();
    for (const payload of ['b', 'c']) server.store('note.text', payload);
    server.expire(3);
    await pass(700);
    open();
    await pass(2000);
    expect(page.told('reset')).toHaveLength(1);
    expect(heard).toEqual([
      ['x', 'new'],
      ['a', 'new'],
      ['a', 'value'],
      ['c', 'old'],
    ]);
    expect(client.position.offset).toBe(4);
  });

  it('ends when another user signs in, whose messages are news', async () => {
    const { closed, open } = gate();
    const { page, client, server } = await late(({ client }) => {
      client.registerHandler('note', (_type, payload) => payload === 'd' && closed);
    });
    client.send('ack', { offset: 3 });
    await settle();
    server.user = 2;
    server.cut();
    open();
    await pass(2000);
    expect(page.told('resume').at(-1)).toMatchObject({ outcome: 'resumed', offset: 3 });
    expect(news(page)).toEqual(['a', ['old', 'c'], ['old', 'd'], 'd']);
  });
});
