import { describe, expect, it, vi } from 'vitest';
import { createClient, SwitchboardError } from '../../client/index.js';
import { Browser, ORIGIN } from './browser.js';
import { connected, pass, settle, useFakeTime } from './scene.js';
import { FakeServer } from './server.js';

useFakeTime();

const fresh = () => {
  const server = new FakeServer();
  const page = new Browser(server).tab().load();
  return { server, page, client: page.client };
};

describe('connecting', () => {
  it('does nothing before connect is called', async () => {
    const { server, client } = fresh();
    await pass(60_000);
    expect(server.urls).toEqual([]);
    expect(client.status).toBe('disconnected');
    expect(client.position).toBeNull();
    expect(client.instance).toBeNull();
  });

  it('goes from disconnected over connecting and catching-up to connected', async () => {
    const { page, client } = await connected();
    expect(page.told('status')).toEqual(['connecting', 'catching-up', 'connected']);
    expect(client.status).toBe('connected');
    expect(client.statusDetail).toEqual({ attempts: 0 });
  });

  it('knows who it is once connected', async () => {
    const { client, server } = await connected();
    expect(client.deviceId).toBe(7);
    expect(client.connectionId).toBe('c-1');
    expect(client.serverVersion).toBe('9.9.9');
    expect(client.maxMessageBytes).toBe(65_536);
    expect(client.instance).toBe(server.urls[0].searchParams.get('instance'));
    expect(client.instance).toMatch(/^[a-z0-9]{16,20}$/);
  });

  it('stays catching-up, with a lag, until position says live', async () => {
    const { client, server } = await connected({
      prepare: (server) => {
        for (let i = 0; i < 3; i++) server.store('note.text', i, { snapshotOnly: true });
        server.holding = true;
      },
    });
    server.store('note.text', 'more', { snapshotOnly: true });
    expect(client.status).toBe('catching-up');
    server.release();
    await settle();
    expect(client.status).toBe('connected');
    expect(client.lag).toBe(0);
  });

  it('connects once, however often it is asked to', async () => {
    const { server, client } = await connected();
    client.connect();
    await settle();
    client.connect();
    await settle();
    expect(server.urls).toHaveLength(1);
  });

  it('opens one socket when asked twice in one breath', async () => {
    const { server, client } = fresh();
    client.connect();
    client.connect();
    await settle();
    expect(server.urls).toHaveLength(1);
  });

  it('leaves one connection behind when disconnected and connected at once, again and again', async () => {
    const { server, client } = fresh();
    for (let i = 0; i < 20; i++) {
      client.connect();
      client.disconnect();
      await pass(i);
    }
    client.connect();
    await pass(1000);
    expect(server.peers.size).toBe(1);
    expect(client.status).toBe('connected');
  });

  it('is not disturbed by the close of the socket that it left', async () => {
    const { page, server, client } = await connected();
    client.disconnect();
    client.connect();
    await pass(1000);
    expect(page.told('status').slice(3)).toEqual([
      'disconnected',
      'connecting',
      'catching-up',
      'connected',
    ]);
    expect(server.peers.size).toBe(1);
  });

  it('gets nothing from a socket that it left', async () => {
    const { page, server, client } = await connected();
    server.push('note.text', 'too late');
    client.disconnect();
    await settle();
    expect(page.told('message')).toEqual([]);
  });

  it('is not greeted over a socket that it left', async () => {
    const { page, server, client } = await connected();
    const [peer] = server.peers;
    const { resume } = page.told('resume')[0];
    client.disconnect();
    peer.tell({ type: 'connected', payload: { device_id: 99, user_id: 1, resume } });
    peer.tell({ type: 'error', payload: { code: 'rate_limited', message: 'too fast' } });
    await settle();
    expect(client.deviceId).toBe(7);
    expect(client.status).toBe('disconnected');
    expect(page.told('error')).toEqual([]);
  });

  it('stays away after disconnect, whatever happens', async () => {
    const { page, server, client } = await connected();
    client.disconnect();
    page.wake();
    page.goOnline();
    page.hide();
    page.show();
    await pass(120_000);
    expect(server.urls).toHaveLength(1);
    expect(client.status).toBe('disconnected');
    expect(client.statusDetail).toEqual({ attempts: 0 });
  });

  it('drops a plan to come back when disconnected', async () => {
    const { server, client } = await connected();
    server.cut();
    await pass(6);
    client.disconnect();
    await pass(60_000);
    expect(server.urls).toHaveLength(1);
  });

  it('gives up an attempt that nobody answers, and makes another', async () => {
    const { page, server, client } = fresh();
    server.silent = true;
    client.connect();
    await pass(9999);
    expect(client.status).toBe('connecting');
    await pass(2);
    expect(client.status).toBe('disconnected');
    expect(client.statusDetail).toMatchObject({ reason: 'timeout', attempts: 1 });
    server.silent = false;
    await pass(600);
    expect(client.status).toBe('connected');
    expect(page.told('error')).toEqual([]);
  });

  it('counts how often it has connected again', async () => {
    const { server, client } = await connected();
    expect(client.reconnects).toBe(0);
    server.cut();
    await pass(700);
    expect(client.reconnects).toBe(1);
    expect(client.connectionId).toBe('c-2');
  });
});

describe('the address', () => {
  it('is that of the page, as a WebSocket', async () => {
    const { server } = await connected();
    expect(server.urls[0].origin + server.urls[0].pathname).toBe(
      ORIGIN.replace('http', 'ws') + '/v1/ws',
    );
    expect(server.protocols).toEqual([[]]);
  });

  it('is that of url, below its path', async () => {
    const { server } = await connected({ options: { url: 'https://a.example/board/' } });
    expect(server.urls[0].href).toMatch(/^wss:\/\/a\.example\/board\/v1\/ws\?instance=/);
  });

  it('never has the token, which is a subprotocol', async () => {
    const { server } = await connected({ options: { token: 'secret-1' } });
    expect(server.urls[0].href).not.toContain('secret');
    expect(server.protocols).toEqual([['switchboard.v1', 'bearer.secret-1']]);
  });

  it('asks a function for the token at each attempt', async () => {
    const token = vi.fn(async () => `token-${token.mock.calls.length}`);
    const { server } = await connected({ options: { token } });
    server.cut();
    await pass(700);
    expect(server.protocols.map(([, bearer]) => bearer)).toEqual([
      'bearer.token-1',
      'bearer.token-2',
    ]);
  });

  it('is asked for again later when the token cannot be had', async () => {
    const token = vi.fn().mockRejectedValueOnce(new Error('no token')).mockResolvedValue('t');
    const { page, client } = await connected({ options: { token } });
    await pass(700);
    expect(page.told('error').map(String)).toEqual(['Error: no token']);
    expect(client.status).toBe('connected');
  });

  it('is not opened any more when the token comes too late', async () => {
    let give;
    const token = () => new Promise((resolve) => (give = resolve));
    const { server, client } = await connected({ options: { token } });
    client.disconnect();
    give('late');
    await settle();
    expect(server.urls).toEqual([]);
  });
});

describe('listeners', () => {
  it('are told no more once they have ended it', async () => {
    const { client, server } = await connected();
    const heard = [];
    const off = client.on('message', ({ payload }) => heard.push(payload));
    server.push('note.text', 1);
    await settle();
    off();
    server.push('note.text', 2);
    await settle();
    expect(heard).toEqual([1]);
  });

  it('that throw are reported, and stop no other', async () => {
    const { client, page, server } = await connected();
    const heard = [];
    client.on('message', () => {
      throw new Error('broken');
    });
    client.on('message', ({ payload }) => heard.push(payload));
    server.push('note.text', 1);
    await settle();
    expect(heard).toEqual([1]);
    expect(page.told('error').map(String)).toEqual(['Error: broken']);
  });

  it('for errors that are missing, or throw themselves, leave it to the page to report', async () => {
    const server = new FakeServer();
    const reported = [];
    const environment = { WebSocket: server.WebSocket, fetch: server.fetch, origin: ORIGIN };
    const client = createClient(
      {},
      { ...environment, reportError: (e) => reported.push(String(e)) },
    );
    client.connect();
    await settle();
    const broken = { type: 'error', payload: { code: 'parse_error', message: 'no JSON' } };
    for (const peer of server.peers) peer.tell(broken);
    await settle();
    client.on('error', () => {
      throw new Error('worse');
    });
    for (const peer of server.peers) peer.tell(broken);
    await settle();
    expect(reported).toEqual(['SwitchboardError: no JSON', 'Error: worse']);
  });

  it('hear of errors of the server that answer nothing', async () => {
    const { page, server } = await connected();
    for (const peer of server.peers) {
      peer.tell({ type: 'error', payload: { code: 'rate_limited', message: 'too fast' } });
    }
    await settle();
    const [error] = page.told('error');
    expect(error).toBeInstanceOf(SwitchboardError);
    expect(error.code).toBe('rate_limited');
  });

  it('hear of what cannot be read, and the connection goes on', async () => {
    const { page, server, client } = await connected();
    for (const { socket } of server.peers) socket.deliver('{"type"');
    server.push('note.text', 1);
    await settle();
    expect(page.told('error')[0]).toBeInstanceOf(SyntaxError);
    expect(page.told('message')).toHaveLength(1);
    expect(client.status).toBe('connected');
  });
});
