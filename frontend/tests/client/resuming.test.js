import { describe, expect, it } from 'vitest';
import { connected, gate, pass, payloads, settle, useFakeTime } from './scene.js';

useFakeTime();

const query = (server) => Object.fromEntries(server.urls.at(-1).searchParams);
const acks = (server) =>
  server.seen.filter(({ type }) => type === 'ack').map(({ payload }) => payload.offset);

describe('the first visit', () => {
  it('starts where the device is, with the current values', async () => {
    const { server, page } = await connected({
      prepare: (server) => {
        server.store('audio.volume', 55, { key: 'kitchen' });
      },
    });
    const { instance, ...rest } = query(server);
    expect(instance).toBeTruthy();
    expect(rest).toEqual({ snapshot: '1' });
    expect(page.told('resume').map(({ outcome }) => outcome)).toEqual(['live']);
    expect(payloads(page)).toEqual([55]);
    expect(page.told('reset')).toEqual([]);
  });

  it('skips what the device missed when asked to', async () => {
    const { server } = await connected({ options: { resume: 'live' } });
    expect(query(server)).toMatchObject({ resume: 'live', snapshot: '1' });
    server.cut();
    await pass(700);
    expect(query(server)).not.toHaveProperty('resume');
  });
});

describe('coming back', () => {
  it('gives instance and position, and no more asks for the current values', async () => {
    const { server, client } = await connected();
    server.store('note.text');
    await settle();
    const { instance } = client;
    server.cut();
    await pass(700);
    expect(query(server)).toEqual({ instance, epoch: 'epoch-1', offset: '1' });
  });

  it('misses nothing and handles nothing twice', async () => {
    const { server, page } = await connected();
    for (let i = 0; i < 30; i++) {
      server.store('note.text', i);
      if (i % 3 === 0) server.cut();
      await pass((i * 37) % 300);
    }
    await pass(60_000);
    expect(payloads(page)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  it('asks for the current values until the first position, also over a loss', async () => {
    const { server, page } = await connected({
      prepare: (server) => {
        server.store('audio.volume', 55, { key: 'kitchen' });
        server.holding = true;
      },
    });
    server.cut();
    await pass(700);
    expect(query(server)).toMatchObject({ snapshot: '1', offset: '1' });
    expect(page.told('resume').map(({ outcome }) => outcome)).toEqual(['live', 'resumed']);
    server.release();
    await settle();
    server.cut();
    await pass(700);
    expect(query(server)).not.toHaveProperty('snapshot');
  });

  it('after a reload goes on at the stored position, and asks for the current values', async () => {
    const { server, tab, client } = await connected();
    server.store('note.text', 1);
    await settle();
    const { instance } = client;
    const next = tab.reload();
    server.store('note.text', 2);
    next.connect();
    await settle();
    expect(query(server)).toEqual({ instance, epoch: 'epoch-1', offset: '1', snapshot: '1' });
    expect(payloads(next)).toEqual([2]);
  });

  it('follows a position that moved without messages for us', async () => {
    const { server, client, tab } = await connected();
    for (const peer of server.peers) {
      peer.tell({ type: 'position', payload: { epoch: 'epoch-1', offset: 40, live: true } });
    }
    await settle();
    expect(client.position).toEqual({ epoch: 'epoch-1', offset: 40 });
    expect(tab.storage.read('position')).toMatchObject({ offset: 40 });
  });

  it('is catching-up again while a connection that was too slow is behind', async () => {
    const { server, client } = await connected();
    for (const live of [false, true]) {
      for (const peer of server.peers) {
        peer.tell({ type: 'position', payload: { epoch: 'epoch-1', offset: 1, live } });
      }
      await settle();
      expect(client.status).toBe(live ? 'connected' : 'catching-up');
    }
  });
});

describe('messages', () => {
  it('that are not above the position are dropped', async () => {
    const { server, page } = await connected();
    server.store('note.text', 'once');
    await settle();
    for (const peer of server.peers) {
      peer.tell({ type: 'note.text', payload: 'twice', offset: 1 });
      peer.tell({ type: 'note.text', payload: 'again', offset: 0 });
    }
    await settle();
    expect(payloads(page)).toEqual(['once']);
  });

  it('of a snapshot are handled at any offset, and move no position', async () => {
    const { server, page, client } = await connected();
    server.store('note.text', 'a');
    await settle();
    for (const peer of server.peers) {
      for (const offset of [1, 9]) {
        peer.tell({ type: 'audio.volume', payload: offset, offset, snapshot: true });
      }
    }
    await settle();
    expect(payloads(page)).toEqual(['a', 1, 9]);
    expect(client.position.offset).toBe(1);
  });

  it('come to the handlers of their prefix with type, payload and message', async () => {
    const { server, client } = await connected();
    const heard = [];
    client.registerHandler('note', (...details) => heard.push(details));
    client.registerHandler('not', () => heard.push('wrong'));
    client.registerHandler('note.text.more', () => heard.push('wrong'));
    server.push('note', 0);
    server.push('note.text', { a: 1 }, { from: { device_id: 3, instance: 'x' } });
    server.push('notebook.text', 2);
    await settle();
    const message = {
      type: 'note.text',
      payload: { a: 1 },
      from: { device_id: 3, instance: 'x' },
    };
    expect(heard).toEqual([
      ['note', 0, { type: 'note', payload: 0 }],
      ['note.text', { a: 1 }, message],
    ]);
  });

  it('come to a handler no more once it is unregistered, in either way', async () => {
    const { server, client } = await connected();
    const heard = [];
    const first = client.registerHandler('note', () => heard.push('first'));
    const second = client.registerHandler('note', () => heard.push('second'));
    first();
    server.push('note.text');
    await settle();
    second();
    server.push('note.text');
    client.registerHandler('note', () => heard.push('third'));
    client.unregisterHandler('note');
    await settle();
    expect(heard).toEqual(['second']);
  });

  it('wait until the handler of the one before is done', async () => {
    const { server, client } = await connected();
    const { closed, open } = gate();
    const heard = [];
    client.registerHandler('note', async (_type, payload) => {
      heard.push(`begin ${payload}`);
      if (payload === 1) await closed;
      heard.push(`end ${payload}`);
    });
    server.store('note.text', 1);
    server.push('note.text', 2);
    await settle();
    expect(heard).toEqual(['begin 1']);
    expect(client.position.offset).toBe(0);
    open();
    await settle();
    expect(heard).toEqual(['begin 1', 'end 1', 'begin 2', 'end 2']);
    expect(client.position.offset).toBe(1);
  });

  it('go on after a handler that throws, which is reported', async () => {
    const { server, client, page } = await connected();
    const heard = [];
    client.registerHandler('note', (_type, payload) => {
      if (payload === 1) throw new Error('broken');
      heard.push(payload);
    });
    server.store('note.text', 1);
    server.store('note.text', 2);
    await settle();
    expect(heard).toEqual([2]);
    expect(page.told('error').map(String)).toEqual(['Error: broken']);
    expect(client.position.offset).toBe(2);
  });

  it('that wait behind a handler are not handled for a connection that is gone', async () => {
    const { server, client } = await connected();
    const { closed, open } = gate();
    const heard = [];
    client.registerHandler('note', async (_type, payload) => {
      heard.push(payload);
      if (payload === 1) await closed;
    });
    for (const payload of [1, 2, 3]) server.store('note.text', payload);
    await settle();
    server.cut();
    await pass(700);
    expect(heard).toEqual([1]);
    open();
    await settle();
    expect(heard).toEqual([1, 2, 3]);
    expect(client.status).toBe('connected');
  });

  it('of features that nobody handles move the position too', async () => {
    const { server, client } = await connected();
    server.store('unheard.of');
    await settle();
    expect(client.position.offset).toBe(1);
  });
});

describe('reset', () => {
  const away = async (change) => {
    const scene = await connected();
    scene.server.store('note.text', 'a');
    await settle();
    scene.server.cut();
    change(scene.server);
    await pass(700);
    return scene;
  };

  it('is told once when the epoch is another', async () => {
    const { page, client, server } = await away((server) => {
      server.beginEpoch('epoch-2');
      server.store('note.text', 'unseen');
    });
    expect(page.told('reset')).toEqual([{ epoch: 'epoch-2', offset: 1, head: 1 }]);
    server.store('note.text', 'b');
    await settle();
    expect(payloads(page)).toEqual(['a', 'b']);
    expect(client.position).toEqual({ epoch: 'epoch-2', offset: 2 });
  });

  it('is told once when the position is too old', async () => {
    const { page, server } = await away((server) => {
      server.store('note.text', 'removed');
      server.expire(2);
    });
    server.cut();
    await pass(700);
    expect(page.told('reset')).toEqual([{ epoch: 'epoch-1', offset: 1, head: 2 }]);
  });

  it('takes a position back that is above all that was given out', async () => {
    const { page, client, server } = await away((server) => server.beginEpoch('epoch-1'));
    expect(page.told('reset')).toEqual([{ epoch: 'epoch-1', offset: 0, head: 0 }]);
    server.store('note.text', 'b');
    await settle();
    expect(payloads(page)).toEqual(['a', 'b']);
    expect(client.position.offset).toBe(1);
  });

  it('is told once when the connection drops before position', async () => {
    const { page, server } = await away((server) => {
      server.beginEpoch('epoch-2');
      server.store('audio.volume', 1, { key: 'kitchen' });
      server.holding = true;
    });
    server.cut();
    server.store('note.text', 'between');
    await pass(1200);
    expect(query(server)).toMatchObject({ epoch: 'epoch-2', offset: '1', snapshot: '1' });
    server.release();
    await settle();
    expect(page.told('reset')).toHaveLength(1);
    expect(payloads(page)).toEqual(['a', 1, 1, 'between']);
  });

  it('is told again for each outcome', async () => {
    const { page, server } = await away((server) => server.beginEpoch('epoch-2'));
    server.cut();
    server.beginEpoch('epoch-3');
    await pass(700);
    expect(page.told('reset').map(({ epoch }) => epoch)).toEqual(['epoch-2', 'epoch-3']);
  });

  it('holds messages back until its listener has fetched the state', async () => {
    const { client, server, page } = await connected();
    const { closed, open } = gate();
    client.on('reset', () => closed);
    server.cut();
    server.beginEpoch('epoch-2');
    await pass(700);
    server.store('note.text', 'b');
    await settle();
    expect(payloads(page)).toEqual([]);
    expect(client.status).toBe('catching-up');
    open();
    await settle();
    expect(payloads(page)).toEqual(['b']);
    expect(client.status).toBe('connected');
  });

  it('whose listener fails is reported, and messages go on', async () => {
    const { client, server, page } = await connected();
    client.on('reset', async () => {
      throw new Error('no state');
    });
    server.cut();
    server.beginEpoch('epoch-2');
    await pass(700);
    expect(page.told('error').map(String)).toEqual(['Error: no state']);
    expect(client.status).toBe('connected');
  });
});

describe('acknowledgements', () => {
  it('are sent after the handler, one for all of a short time', async () => {
    const { server } = await connected();
    await pass(200);
    for (let i = 0; i < 50; i++) server.store('note.text', i);
    await pass(100);
    expect(acks(server)).toEqual([0]);
    await pass(200);
    expect(acks(server)).toEqual([0, 50]);
  });

  it('are not sent before the position that ends the snapshot', async () => {
    const { server } = await connected({
      prepare: (server) => {
        server.holding = true;
      },
    });
    for (const peer of server.peers) peer.tell({ type: 'note.text', payload: 1, offset: 1 });
    await pass(1000);
    expect(acks(server)).toEqual([]);
  });

  it('are sent before saying goodbye', async () => {
    const { server, client } = await connected();
    server.store('note.text');
    await pass(20);
    client.disconnect();
    await settle();
    expect(acks(server)).toEqual([1]);
  });

  it('wait for a slow handler', async () => {
    const { server, client } = await connected();
    await pass(300);
    const { closed, open } = gate();
    client.registerHandler('note', () => closed);
    server.store('note.text');
    await pass(1000);
    expect(acks(server)).toEqual([0]);
    open();
    await pass(300);
    expect(acks(server)).toEqual([0, 1]);
  });
});
