import { describe, expect, it } from 'vitest';
import { connected, gate, pass, payloads, settle, useFakeTime } from './scene.js';

useFakeTime();

describe('a start of the server', () => {
  it('changes the text, which is kept with the position, and loses nothing', async () => {
    const { page, client, server } = await connected();
    server.store('note.text', 'a');
    await settle();
    server.restart();
    server.store('note.text', 'b');
    await pass(700);
    expect(page.told('reset')).toEqual([]);
    expect(payloads(page)).toEqual(['a', 'b']);
    expect(client.position).toEqual({ epoch: 'epoch-1.1', offset: 2 });
    expect(page.told('resume').at(-1)).toMatchObject({ outcome: 'resumed' });
  });

  it('while a handler runs has the server asked again, and nothing is handled twice', async () => {
    const { server, client } = await connected();
    const { closed, open } = gate();
    const heard = [];
    client.registerHandler('note', async (_type, payload) => {
      heard.push(payload);
      if (payload === 'a') await closed;
    });
    server.store('note.text', 'a');
    await settle();
    server.restart();
    server.store('note.text', 'b');
    await pass(700);
    open();
    await pass(2000);
    expect(heard).toEqual(['a', 'b']);
    expect(client.position).toEqual({ epoch: 'epoch-1.1', offset: 2 });
    expect(client.status).toBe('connected');
  });

  it('with a copy put back is a reset for a page that was ahead of it', async () => {
    const { page, client, server } = await connected();
    const copy = server.copy();
    server.store('note.text', 'lost');
    await settle();
    server.putBack(copy);
    server.store('note.text', 'in its place');
    await pass(700);
    expect(page.told('reset')).toEqual([{ epoch: 'epoch-1.1', offset: 1, head: 1 }]);
    server.store('note.text', 'b');
    await settle();
    expect(payloads(page)).toEqual(['lost', 'b']);
    expect(client.position).toEqual({ epoch: 'epoch-1.1', offset: 2 });
  });

  it('with a copy put back while a handler runs is a reset too', async () => {
    const { page, server, client } = await connected();
    const copy = server.copy();
    const { closed, open } = gate();
    client.registerHandler('note', () => closed);
    server.store('note.text', 'lost');
    await settle();
    server.putBack(copy);
    server.store('note.text', 'in its place');
    await pass(700);
    open();
    await pass(2000);
    expect(page.told('reset')).toHaveLength(1);
    expect(client.position).toEqual({ epoch: 'epoch-1.1', offset: 1 });
    expect(client.status).toBe('connected');
  });

  it('that is told by position alone changes the text that is kept', async () => {
    const { client, server } = await connected();
    for (const peer of server.peers) {
      const payload = { epoch: 'epoch-1.9', offset: 0, live: true };
      peer.tell({ type: 'position', payload });
      peer.tell({ type: 'note.text', payload: 'a', offset: 1 });
    }
    await settle();
    expect(client.position).toEqual({ epoch: 'epoch-1.9', offset: 1 });
  });
});
