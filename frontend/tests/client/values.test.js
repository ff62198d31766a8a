import { describe, expect, it } from 'vitest';
import { connected, gate, pass, settle, useFakeTime } from './scene.js';

useFakeTime();

const VOLUME = 'audio.volume';

/** A page that holds the values of the type, as docs/client.md says. */
function holding(client) {
  const values = new Map();
  client.registerHandler(VOLUME, (type, payload, { key, deleted }) => {
    if (deleted) values.delete(key);
    else values.set(key, payload);
  });
  client.on('snapshot', (all) => {
    const keys = new Set(all.filter(({ type }) => type === VOLUME).map(({ key }) => key));
    for (const key of values.keys()) if (!keys.has(key)) values.delete(key);
  });
  return values;
}

/** Payloads of `device.send` that the server got. */
const sends = (server) =>
  server.seen.filter(({ type }) => type === 'device.send').map(({ payload }) => payload);

const names = (all) => all.map(({ type, key }) => `${type} ${key}`);

describe('a message that is kept', () => {
  it('says when the server took it, also after an absence', async () => {
    const { server, page } = await connected();
    const taken = Date.now();
    server.cut();
    server.store('note.text', 1);
    await pass(60_000);
    const [message] = page.told('message');
    expect(message.time).toBe(taken);
    expect(Date.now()).toBeGreaterThan(taken + 50_000);
  });

  it('has its key, and tells when that was deleted', async () => {
    const { server, client } = await connected();
    const heard = [];
    client.registerHandler(VOLUME, (type, payload, message) => heard.push(message));
    server.store(VOLUME, 55, { key: 'kitchen' });
    server.remove(VOLUME, 'kitchen');
    await settle();
    expect(heard).toMatchObject([
      { payload: 55, key: 'kitchen' },
      { payload: null, key: 'kitchen', deleted: true },
    ]);
    expect(heard[0]).not.toHaveProperty('deleted');
  });
});

describe('removing a value', () => {
  it('asks the server for it once, for all devices, and resolves to the answer', async () => {
    const { server, client } = await connected();
    const promise = client.remove(VOLUME, 'kitchen');
    await settle();
    expect(await promise).toMatchObject({ offset: 1 });
    expect(sends(server)).toHaveLength(1);
    expect(sends(server)[0]).toEqual({
      to: 'user',
      type: VOLUME,
      payload: null,
      store: 'latest',
      key: 'kitchen',
      message_id: expect.any(String),
      delete: true,
    });
  });

  it('goes to whom it is told, and waits in the outbox while offline', async () => {
    const { server, client } = await connected();
    server.cut();
    await pass(10);
    const promise = client.remove(VOLUME, 'kitchen', { to: 'others', messageId: 'mine' });
    expect(client.outboxSize).toBe(1);
    await pass(1000);
    await promise;
    expect(sends(server)).toMatchObject([{ to: 'others', message_id: 'mine' }]);
  });

  it('needs no outbox', async () => {
    const { server, client } = await connected();
    const options = { to: 'user', key: 'kitchen', delete: true };
    const promise = client.request(VOLUME, null, options);
    await settle();
    await promise;
    expect(sends(server)).toEqual([{ ...options, type: VOLUME, payload: null }]);
  });
});

describe('values that are gone', () => {
  it('are known by the snapshot after a reset', async () => {
    const { server, client } = await connected();
    const values = holding(client);
    server.store(VOLUME, 55, { key: 'kitchen' });
    server.store(VOLUME, 20, { key: 'hall' });
    await settle();
    server.cut();
    server.remove(VOLUME, 'kitchen');
    server.prune();
    await pass(1000);
    expect([...values]).toEqual([['hall', 20]]);
  });

  it('are known by the snapshot if all are gone', async () => {
    const { server, client } = await connected();
    const values = holding(client);
    server.store(VOLUME, 55, { key: 'kitchen' });
    await settle();
    server.cut();
    server.remove(VOLUME, 'kitchen');
    server.prune();
    await pass(1000);
    expect(values.size).toBe(0);
  });

  it('come as deletions when the position holds, without a snapshot', async () => {
    const { server, client, page } = await connected();
    const values = holding(client);
    server.store(VOLUME, 55, { key: 'kitchen' });
    await settle();
    const before = page.told('snapshot').length;
    server.cut();
    server.remove(VOLUME, 'kitchen');
    await pass(1000);
    expect(values.size).toBe(0);
    expect(page.told('snapshot')).toHaveLength(before);
  });

  it('are not in the snapshot even if they went while it came', async () => {
    const { server, page } = await connected({
      prepare: (server) => {
        server.store(VOLUME, 55, { key: 'kitchen' });
        server.store('app.theme', 'dark', { key: 'theme' });
        server.holding = true;
      },
    });
    server.remove(VOLUME, 'kitchen');
    server.store('app.theme', 'light', { key: 'theme' });
    server.store(VOLUME, 20, { key: 'hall' });
    expect(page.told('snapshot')).toEqual([]);
    server.release();
    await settle();
    expect(page.told('snapshot').map(names)).toEqual([['app.theme theme', 'audio.volume hall']]);
  });

  it('are known when the snapshot of the next connection is complete', async () => {
    const { server, page } = await connected({
      prepare: (server) => {
        server.store(VOLUME, 55, { key: 'kitchen' });
        server.holding = true;
      },
    });
    server.cut();
    server.remove(VOLUME, 'kitchen');
    server.holding = false;
    await pass(1000);
    expect(page.told('snapshot')).toEqual([[]]);
  });

  it('are told before the position, and later messages wait for the listener', async () => {
    const order = [];
    const { closed, open } = gate();
    const { server, client } = await connected();
    server.prune();
    for (const name of ['position', 'message']) client.on(name, () => order.push(name));
    client.on('snapshot', async () => {
      order.push('snapshot');
      await closed;
    });
    server.beginEpoch('epoch-2');
    server.cut();
    await pass(1000);
    server.store('note.text', 1);
    await settle();
    expect(order).toEqual(['snapshot']);
    open();
    await settle();
    expect(order).toEqual(['snapshot', 'position', 'message']);
  });
});
