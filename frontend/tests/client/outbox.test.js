import { describe, expect, it } from 'vitest';
import { Browser, FakeStorage } from './browser.js';
import { connected, pass, settle, useFakeTime } from './scene.js';
import { FakeServer } from './server.js';

useFakeTime();

const refusal = (code) => Object.assign(new Error('refused'), { code });
const HOUR = 3_600_000;
const full = (hours) => Object.assign(refusal('too_many_ids'), { retryAfter: hours * HOUR });
const durable = { to: 'others', durable: true };
const sends = (server) =>
  server.seen.filter(({ type }) => type === 'device.send').map(({ payload }) => payload);
const stored = (server) => server.stream.map(({ message }) => message.payload);

/** The first is answered by an error that does not say what it answers. */
const unnamed = (server, code) => (_, peer) => {
  server.replies.clear();
  peer.tell({ type: 'error', payload: { code, message: 'refused' } });
};

/** What becomes of a promise, without waiting for it. */
function fate(promise) {
  const seen = {};
  promise.then(
    (value) => (seen.value = value),
    (error) => (seen.error = error),
  );
  return seen;
}

const offline = () => {
  const server = new FakeServer();
  const tab = new Browser(server).tab();
  return { server, tab, page: tab.load(), client: tab.page.client };
};

describe('a durable message', () => {
  it('is sent with store log and a message id, and resolved by the ok', async () => {
    const { server, client } = await connected();
    const outcome = fate(client.send('note.text', { a: 1 }, durable));
    expect(client.outboxSize).toBe(1);
    await settle();
    expect(outcome.value).toEqual({ delivered: [], epoch: 'epoch-1', offset: 1 });
    expect(client.outboxSize).toBe(0);
    expect(sends(server)).toEqual([
      {
        to: 'others',
        type: 'note.text',
        payload: { a: 1 },
        store: 'log',
        message_id: expect.stringMatching(/^[a-z0-9]{16,20}$/),
      },
    ]);
  });

  it('keeps the store, key, ttl and message id that are given', async () => {
    const { server, client } = await connected();
    client.send('audio.volume', 1, {
      to: 4,
      store: 'latest',
      key: 'kitchen',
      ttl: 60,
      messageId: 'mine',
      durable: true,
    });
    await settle();
    expect(sends(server)[0]).toEqual({
      to: 4,
      type: 'audio.volume',
      payload: 1,
      store: 'latest',
      key: 'kitchen',
      ttl: 60,
      message_id: 'mine',
    });
  });

  it('needs to', async () => {
    const { client } = await connected();
    await expect(client.send('note.text', 1, { durable: true })).rejects.toThrow(TypeError);
    expect(client.outboxSize).toBe(0);
  });

  it('waits while there is no connection, and goes out in order', async () => {
    const { server, client } = offline();
    const outcomes = [1, 2, 3].map((payload) => fate(client.send('note.text', payload, durable)));
    await pass(60_000);
    expect(outcomes).toEqual([{}, {}, {}]);
    client.connect();
    await settle();
    expect(outcomes.map(({ value }) => value.offset)).toEqual([1, 2, 3]);
    expect(stored(server)).toEqual([1, 2, 3]);
  });

  it('is not on its way before the one before it is answered', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', () => undefined);
    client.send('note.text', 1, durable).catch(() => {});
    client.send('note.text', 2, durable).catch(() => {});
    await settle();
    expect(sends(server).map(({ payload }) => payload)).toEqual([1]);
  });

  it('whose answer was lost is repeated with the same id, and stored once', async () => {
    const { server, client } = await connected();
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(5);
    server.cut();
    await pass(700);
    expect(outcome.value).toMatchObject({ offset: 1, duplicate: true });
    expect(stored(server)).toEqual([1]);
    const [first, second] = sends(server);
    expect(second).toEqual(first);
  });

  it('is repeated as it was, though the app has changed the object since', async () => {
    const { server, client } = await connected();
    const payload = { a: 1 };
    client.disconnect();
    client.send('note.text', payload, durable);
    payload.a = 2;
    client.connect();
    await settle();
    expect(sends(server)[0].payload).toEqual({ a: 1 });
  });

  it('survives any number of losses: each arrives once', async () => {
    const { server, client } = await connected();
    const outcomes = [];
    for (let i = 0; i < 40; i++) {
      outcomes.push(fate(client.send('note.text', i, durable)));
      if (i % 4 === 0) server.cut();
      await pass((i * 13) % 90);
    }
    await pass(120_000);
    expect(stored(server)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(outcomes.every(({ value }) => value)).toBe(true);
  });

  it.each([
    'rate_limited',
    'overloaded',
    'storage_unavailable',
    'internal_error',
    'busy',
    'timed_out',
  ])('is tried again, later, after %s', async (code) => {
    const { server, client } = await connected();
    server.replies.set('device.send', () => refusal(code));
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(10_000);
    const tries = sends(server).length;
    expect(tries).toBeGreaterThan(2);
    expect(tries).toBeLessThan(20);
    expect(outcome).toEqual({});
    server.replies.clear();
    await pass(30_000);
    expect(outcome.value.offset).toBe(1);
    expect(new Set(sends(server).map((payload) => payload.message_id)).size).toBe(1);
  });

  it('that was stored although it timed out is repeated, and stored once', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', (message, peer) => {
      server.replies.clear();
      server.receive(peer, JSON.stringify({ ...message, id: undefined }));
      return refusal('timed_out');
    });
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(1000);
    expect(outcome.value).toMatchObject({ offset: 1, duplicate: true });
    expect(stored(server)).toEqual([1]);
  });

  it.each(['forbidden', 'device_not_found', 'id_conflict', 'too_many_keys', 'invalid_message'])(
    'is given up after %s, and the next goes out',
    async (code) => {
      const { server, client } = await connected();
      server.replies.set('device.send', () => {
        server.replies.clear();
        return refusal(code);
      });
      const outcomes = [1, 2].map((payload) => fate(client.send('note.text', payload, durable)));
      await settle();
      expect(outcomes[0].error.code).toBe(code);
      expect(outcomes[1].value.offset).toBe(1);
    },
  );

  it('that the server cannot read is given up at once, and the next goes out', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', unnamed(server, 'parse_error'));
    const outcomes = [1, 2].map((payload) => fate(client.send('note.text', payload, durable)));
    await settle();
    expect(outcomes[0].error.code).toBe('parse_error');
    expect(outcomes[1].value.offset).toBe(1);
  });

  it('is tried again soon after rate_limited that names no message', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', unnamed(server, 'rate_limited'));
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(1000);
    expect(outcome.value.offset).toBe(1);
    const [first, second] = sends(server);
    expect(second).toEqual(first);
  });

  it('is not given up for the refusal of another, without an id', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', unnamed(server, 'invalid_message'));
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(32_000);
    expect(outcome.value.offset).toBe(1);
  });

  it('that is too large is given up, and the next goes out', async () => {
    const { client } = await connected({
      prepare: (server) => {
        server.maxMessageBytes = 300;
      },
    });
    const outcomes = ['x'.repeat(300), 'y'].map((payload) =>
      fate(client.send('note.text', payload, durable)),
    );
    await settle();
    expect(outcomes[0].error.code).toBe('too_large');
    expect(outcomes[1].value.offset).toBe(1);
  });

  it('that is not answered on a live connection is repeated', async () => {
    const { server, client } = await connected();
    server.replies.set('device.send', () => {
      server.replies.clear();
    });
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(32_000);
    expect(outcome.value.offset).toBe(1);
  });

  it('expires while there is no connection', async () => {
    const { server, client } = offline();
    const outcome = fate(client.send('note.text', 1, { ...durable, expires: 5000 }));
    const other = fate(client.send('note.text', 2, durable));
    await pass(4999);
    expect(outcome).toEqual({});
    await pass(2);
    expect(outcome.error.code).toBe('expired');
    client.connect();
    await settle();
    expect(stored(server)).toEqual([2]);
    expect(other.value.offset).toBe(1);
  });

  it('expires after a day when nothing else is said', async () => {
    const { client } = offline();
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(86_399_000);
    expect(outcome).toEqual({});
    await pass(2000);
    expect(outcome.error.code).toBe('expired');
  });

  it('may wait longer than a timer can', async () => {
    const { client } = offline();
    const outcome = fate(client.send('note.text', 1, { ...durable, expires: 60 * 86_400_000 }));
    await pass(59 * 86_400_000);
    expect(outcome).toEqual({});
    await pass(2 * 86_400_000);
    expect(outcome.error.code).toBe('expired');
  });

  it('that is on its way has until its answer', async () => {
    const { server, client } = await connected();
    let answer;
    server.replies.set('device.send', (message, peer) => {
      answer = () => peer.tell({ type: 'ok', payload: { offset: 1 }, reply_to: message.id });
    });
    const outcome = fate(client.send('note.text', 1, { ...durable, expires: 1000 }));
    await pass(2000);
    expect(outcome).toEqual({});
    answer();
    await settle();
    expect(outcome.value).toEqual({ offset: 1 });
  });
});

describe('when the server remembers no more ids', () => {
  const refusing = async (hours) => {
    const scene = await connected();
    scene.server.replies.set('device.send', () => full(hours));
    return scene;
  };

  it('all that waits is kept, sent when the server said, and in order', async () => {
    const { server, client } = await refusing(3);
    const outcomes = [1, 2, 3].map((payload) => fate(client.send('note.text', payload, durable)));
    await pass(3 * HOUR - 1000);
    expect(sends(server)).toHaveLength(1);
    expect(outcomes).toEqual([{}, {}, {}]);
    server.replies.clear();
    await pass(2000);
    expect(outcomes.map(({ value }) => value.offset)).toEqual([1, 2, 3]);
    expect(stored(server)).toEqual([1, 2, 3]);
    expect(new Set(sends(server).map((payload) => payload.message_id)).size).toBe(3);
  });

  it('what is sent meanwhile comes behind it', async () => {
    const { server, client } = await refusing(3);
    client.send('note.text', 1, durable);
    await pass(HOUR);
    client.send('note.text', 2, durable);
    await pass(HOUR);
    expect(sends(server)).toHaveLength(1);
    server.replies.clear();
    await pass(HOUR + 1000);
    expect(stored(server)).toEqual([1, 2]);
  });

  it('the app is told, and until when', async () => {
    const { client, page } = await refusing(3);
    client.send('note.text', 1, durable);
    await settle();
    expect(page.told('error')).toEqual([
      expect.objectContaining({ code: 'too_many_ids', retryAfter: 3 * HOUR }),
    ]);
    expect(client.outboxSize).toBe(1);
  });

  it('another connection is tried at once, since the server may have another limit', async () => {
    const { server, client } = await refusing(20);
    const outcome = fate(client.send('note.text', 1, durable));
    await pass(HOUR);
    server.replies.clear();
    server.cut();
    await pass(2000);
    expect(outcome.value.offset).toBe(1);
  });

  it('the wait of a connection ends with it', async () => {
    const { server, client } = await refusing(1);
    client.send('note.text', 1, durable);
    await settle();
    server.cut();
    server.replies.set('device.send', () => full(5));
    await pass(2 * HOUR);
    expect(sends(server)).toHaveLength(2);
  });

  it('a message outlives the wait although its own day ends before', async () => {
    const { server, client, tab } = await refusing(20);
    client.disconnect();
    const outcome = fate(client.send('note.text', 1, durable));
    fate(client.send('note.text', 2, durable));
    await pass(10 * HOUR);
    client.connect();
    await pass(15 * HOUR);
    expect(outcome).toEqual({});
    const next = tab.reload();
    server.replies.clear();
    next.connect();
    await settle();
    expect(stored(server)).toEqual([1, 2]);
  });

  it('a message of which the app has said how long it is good for expires then', async () => {
    const { server, client } = await refusing(3);
    const outcome = fate(client.send('note.text', 1, { ...durable, expires: 60_000 }));
    const other = fate(client.send('note.text', 2, durable));
    await pass(59_000);
    expect(outcome).toEqual({});
    await pass(2000);
    expect(outcome.error.code).toBe('expired');
    server.replies.clear();
    await pass(3 * HOUR);
    expect(stored(server)).toEqual([2]);
    expect(other.value.offset).toBe(1);
  });

  it('another user does not wait for it', async () => {
    const { server, client } = await refusing(20);
    const outcome = fate(client.send('note.text', 1, durable));
    await settle();
    client.disconnect({ forget: true });
    await settle();
    expect(outcome.error.code).toBe('signed_out');
    server.replies.clear();
    server.user = 2;
    client.connect();
    await settle();
    const theirs = fate(client.send('note.text', 2, durable));
    await settle();
    expect(theirs.value.offset).toBe(1);
  });
});

describe('the same message id', () => {
  const mine = { ...durable, messageId: 'mine' };

  it('with the same message is one message, and whoever sent it is answered', async () => {
    const { server, client } = await connected();
    const outcomes = [1, 1].map((payload) => fate(client.send('note.text', payload, mine)));
    expect(client.outboxSize).toBe(1);
    await settle();
    expect(outcomes.map(({ value }) => value?.offset)).toEqual([1, 1]);
    expect(sends(server)).toHaveLength(1);
  });

  it('with another message is refused at once, and the first goes on', async () => {
    const { server, client } = offline();
    const outcomes = [1, 2].map((payload) => fate(client.send('note.text', payload, mine)));
    await pass(0);
    expect(outcomes[1].error?.code).toBe('id_conflict');
    expect(outcomes[0]).toEqual({});
    client.connect();
    await settle();
    expect(outcomes[0].value.offset).toBe(1);
    expect(stored(server)).toEqual([1]);
  });

  it('as before a reload takes its answer', async () => {
    const { server, tab, client } = offline();
    client.send('note.text', 1, mine);
    const next = tab.reload();
    const outcome = fate(next.client.send('note.text', 1, mine));
    next.connect();
    await settle();
    expect(outcome.value.offset).toBe(1);
    expect(sends(server)).toHaveLength(1);
  });
});

describe('after a reload', () => {
  it('what was not answered is sent, with the same id', async () => {
    const { server, tab, client } = await connected();
    server.replies.set('device.send', () => undefined);
    client.send('note.text', 1, durable);
    await settle();
    server.replies.clear();
    const next = tab.reload();
    expect(next.client.outboxSize).toBe(1);
    next.connect();
    await settle();
    const [first, second] = sends(server);
    expect(second).toEqual(first);
    expect(next.client.outboxSize).toBe(0);
    const told = next.told('outbox');
    const answer = { delivered: [], epoch: 'epoch-1', offset: 1 };
    expect(told).toEqual([{ size: 0, messageId: first.message_id, answer }]);
  });

  it('what is sent before connecting comes behind it', async () => {
    const { server, tab, client } = offline();
    client.send('note.text', 1, durable);
    const next = tab.reload();
    next.client.send('note.text', 2, durable);
    next.connect();
    await settle();
    expect(stored(server)).toEqual([1, 2]);
  });

  it('what has expired meanwhile is not sent', async () => {
    const { server, tab, client } = offline();
    client.send('note.text', 1, { ...durable, expires: 1000 }).catch(() => {});
    await pass(500);
    tab.page.leave();
    await pass(1000);
    const next = tab.load().connect();
    await settle();
    expect(stored(server)).toEqual([]);
    expect(next.told('outbox')[0].error.code).toBe('expired');
  });
});

describe('the storage of the tab', () => {
  it('that is full is reported, and the message sent all the same', async () => {
    const { server, client, page, tab } = await connected();
    tab.storage.full = true;
    client.send('note.text', 1, durable);
    await settle();
    expect(page.told('error')[0].name).toBe('QuotaExceededError');
    expect(stored(server)).toEqual([1]);
  });

  it('that is missing or unreadable counts as empty', async () => {
    const broken = new FakeStorage();
    broken.getItem = () => '{"';
    for (const storage of [undefined, broken]) {
      const server = new FakeServer();
      const { client } = new Browser(server).tab().load({}, { storage }).connect();
      client.send('note.text', 1, durable);
      await settle();
      expect(client.status).toBe('connected');
      expect(stored(server)).toEqual([1]);
    }
  });
});
