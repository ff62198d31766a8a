// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PlaygroundServer } from './playground.js';
import { connected, signedInTab } from './tab.js';
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
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

async function playing() {
  const tab = await signedInTab();
  const { useMessages, FEED_LIMIT } = await import('../../src/store/messages.js');
  return { ...tab, messages: useMessages(tab.pinia), FEED_LIMIT };
}

/** @typedef {Awaited<ReturnType<typeof playing>>['messages']} Messages */

/** @param {Messages} messages */
const types = (messages) => messages.arrivals.map(({ type }) => type);

/** @param {Messages} messages @param {number} count */
function received(messages, count) {
  return until(() => messages.arrivals.length + messages.heldCount === count);
}

const NOTE = { type: 'note.text', payload: { text: 'hi' } };
const LOG = /** @type {const} */ ({ ...NOTE, to: 'others', store: 'log' });
const NOW = /** @type {const} */ ({ ...NOTE, to: 'others', store: 'none' });

describe('the feed', () => {
  it('has what arrives, newest first, with all that the wire said', async () => {
    const { messages } = await playing();
    server.push({ type: 'a.one', payload: 1, offset: 7, from: { device_id: 2, instance: 'x' } });
    server.push({ type: 'b.two', payload: { text: 'é' }, snapshot: true });
    server.push({ type: 'c.three', offset: 8, replayed: true });
    await received(messages, 3);
    expect(messages.arrivals).toMatchObject([
      { type: 'c.three', offset: 8, snapshot: false, replayed: true },
      { type: 'b.two', json: '{"text":"é"}', snapshot: true },
      {
        type: 'a.one',
        json: '1',
        offset: 7,
        from: { device_id: 2 },
        snapshot: false,
        replayed: false,
      },
    ]);
  });

  it('has the time when the server took a kept message, and else that of its arrival', async () => {
    const { messages } = await playing();
    const before = Date.now();
    const value = { key: 'kitchen', offset: 7, time: before - 86_400_000 };
    server.push({ type: 'a.one', ...value, deleted: true });
    server.push({ type: 'b.two' });
    await received(messages, 2);
    const [now, kept] = messages.arrivals;
    expect(kept).toMatchObject({ at: value.time, key: 'kitchen', deleted: true });
    expect(kept.cameAt).toBeGreaterThanOrEqual(before);
    expect(now).toMatchObject({ at: now.cameAt, deleted: false });
    expect(now.key).toBeUndefined();
  });

  it('leaves out the server’s own messages and answers', async () => {
    const { messages, websocket } = await playing();
    server.push({ type: 'presence.changed', payload: { device_id: 2, connections: 1 } });
    await websocket.ping();
    await messages.send({ ...NOW, to: 99 });
    server.push({ type: 'note.text' });
    await received(messages, 1);
    expect(types(messages)).toEqual(['note.text']);
  });

  it('stands still while paused, counts what arrives, and has it all afterwards', async () => {
    const { messages } = await playing();
    server.push({ type: 'a.one' });
    await received(messages, 1);
    messages.pause();
    server.push({ type: 'b.two' });
    server.push({ type: 'c.three' });
    await received(messages, 3);
    expect(types(messages)).toEqual(['a.one']);
    expect(messages.heldCount).toBe(2);
    messages.resume();
    expect(types(messages)).toEqual(['c.three', 'b.two', 'a.one']);
    expect(messages.heldCount).toBe(0);
  });

  it('keeps the newest 500, paused or not, and counts all that came', async () => {
    const { messages, FEED_LIMIT } = await playing();
    for (let number = 0; number < 300; number += 1)
      messages.receive({ type: 'a.b', payload: number });
    messages.pause();
    for (let number = 300; number < 900; number += 1)
      messages.receive({ type: 'a.b', payload: number });
    expect(messages.heldCount).toBe(600);
    messages.resume();
    expect(messages.arrivals).toHaveLength(FEED_LIMIT);
    expect(messages.arrivals[0].payload).toBe(899);
    expect(messages.arrivals.at(-1)?.payload).toBe(400);
  });

  it('has nothing of the user before for the next one', async () => {
    const { messages, auth, ...tab } = await playing();
    server.push({ type: 'a.secret' });
    await received(messages, 1);
    messages.draft.payload = '"secret"';
    await messages.send(LOG);
    await auth.signOut();
    await auth.signIn('root', 'battery staple');
    await connected({ ...tab, auth });
    expect(messages.arrivals).toEqual([]);
    expect(messages.sends).toEqual([]);
    expect(messages.draft.payload).not.toContain('secret');
    server.push({ type: 'b.next' });
    await received(messages, 1);
  });
});

describe('a send', () => {
  it('that is not kept tells who took it', async () => {
    const { messages } = await playing();
    const record = await messages.send(NOW);
    expect(record).toMatchObject({ status: 'delivered', delivered: [2], waited: false });
    expect(record.messageId).toBeUndefined();
    expect(record.tookMs).toBeGreaterThanOrEqual(0);
    expect(server.sent).toEqual([{ to: 'others', type: 'note.text', payload: { text: 'hi' } }]);
  });

  it('that is kept tells its offset, and sent again with its message_id counts once', async () => {
    const { messages } = await playing();
    const first = await messages.send({ ...LOG, ttl: 60 });
    const again = await messages.send({ ...LOG, ttl: 60 }, first.messageId);
    expect(first).toMatchObject({ status: 'delivered', offset: 1 });
    expect(first.duplicate).toBeUndefined();
    expect(again).toMatchObject({ status: 'delivered', offset: 1, duplicate: true });
    expect(server.sent[0]).toMatchObject({ store: 'log', ttl: 60, message_id: first.messageId });
    expect(server.sent[1]).toEqual(server.sent[0]);
  });

  it('that is refused says so in words', async () => {
    const { messages } = await playing();
    const record = await messages.send({ ...NOW, to: 99 });
    expect(record).toMatchObject({ status: 'refused' });
    expect(record.fault).toMatch(/no such device of yours/);
  });

  it('that is not kept cannot wait for a connection', async () => {
    const { messages, websocket } = await playing();
    websocket.goOffline();
    const record = await messages.send(NOW);
    expect(record.status).toBe('refused');
    expect(record.fault).toMatch(/Go online/);
    expect(server.sent).toEqual([]);
  });

  it('that is kept waits in the outbox while offline, and is delivered once after', async () => {
    const { messages, websocket } = await playing();
    websocket.goOffline();
    const sending = messages.send(LOG);
    expect(messages.sends[0]).toMatchObject({ status: 'waiting', waited: true });
    expect(websocket.wsOutboxSize.value).toBe(1);
    websocket.goOnline();
    expect(await sending).toMatchObject({ status: 'delivered', offset: 1, waited: true });
    expect(server.sent).toHaveLength(1);
  });

  it('that deletes a value goes out as a deletion, once', async () => {
    const { messages } = await playing();
    const parcel = { to: /** @type {const} */ ('user'), type: 'a.b', payload: null };
    const deletion = { store: /** @type {const} */ ('latest'), key: 'k', delete: true };
    const record = await messages.send({ ...parcel, ...deletion });
    expect(record).toMatchObject({ status: 'delivered', offset: 1 });
    expect(server.sent).toEqual([{ ...parcel, ...deletion, message_id: record.messageId }]);
  });

  it('that got no answer before the connection was lost waits, and goes out again', async () => {
    const { messages, websocket } = await playing();
    server.silent = true;
    const sending = messages.send(LOG);
    await until(() => server.sent.length === 1);
    expect(messages.sends[0].status).toBe('sending');
    websocket.goOffline();
    await until(() => messages.sends[0].status === 'waiting');
    server.silent = false;
    websocket.goOnline();
    expect(await sending).toMatchObject({ status: 'delivered', waited: true });
    expect(server.sent[1]).toEqual(server.sent[0]);
  });

  it('that the server has no space for says why it waits, and so does the next', async () => {
    const { messages, websocket } = await playing();
    server.full = true;
    const sending = [messages.send(LOG)];
    await until(() => messages.sends[0].status === 'waiting');
    sending.push(messages.send(LOG));
    expect(messages.sends.map(({ fault }) => fault)).toEqual([
      expect.stringMatching(/space again/),
      expect.stringMatching(/space again/),
    ]);
    server.full = false;
    websocket.goOffline();
    await until(() => messages.sends[0].fault === undefined);
    websocket.goOnline();
    const delivered = await Promise.all(sending);
    expect(delivered.map(({ status, offset }) => [status, offset])).toEqual([
      ['delivered', 1],
      ['delivered', 2],
    ]);
  });

  it('that still waits is never dropped from the list', async () => {
    const { messages, websocket } = await playing();
    websocket.goOffline();
    const waiting = messages.send(LOG);
    for (let count = 0; count < 30; count += 1) await messages.send(NOW);
    expect(messages.sends).toHaveLength(21);
    expect(messages.sends.at(-1)?.status).toBe('waiting');
    websocket.goOnline();
    await waiting;
  });
});
