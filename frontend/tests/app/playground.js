/**
 * What the fake server lacks for the Playground: it answers `device.send` and keeps what it was
 * sent. To extend it: `answer`.
 */
import { vi } from 'vitest';
import { FakeServer } from './server.js';

export class PlaygroundServer extends FakeServer {
  /** Payloads of `device.send`, in order. */
  /** @type {any[]} */
  sent = [];

  /** @type {Map<string, number>} offsets by message_id */
  kept = new Map();

  /** Whether what is sent gets no answer. */
  silent = false;

  /** Whether new message ids are refused. */
  full = false;

  install() {
    super.install();
    const server = this;
    const Plain = /** @type {any} */ (WebSocket);
    vi.stubGlobal(
      'WebSocket',
      class extends Plain {
        /** @param {string} text */
        send(text) {
          const { type, id, payload } = JSON.parse(text);
          if (type !== 'device.send') return super.send(text);
          server.sent.push(payload);
          if (!server.silent) this.tell({ ...server.answer(payload), reply_to: id });
        }
      },
    );
    return this;
  }

  /** @param {any} body */
  answer({ to, message_id: messageId, store }) {
    if (to === 99) return { type: 'error', payload: { code: 'device_not_found', message: 'no' } };
    if (!store || store === 'none') return { type: 'ok', payload: { delivered: [2] } };
    const known = this.kept.get(messageId);
    if (this.full && known === undefined) {
      const payload = { code: 'too_many_ids', message: 'full', retry_after_ms: 3_600_000 };
      return { type: 'error', payload };
    }
    const offset = known ?? this.kept.size + 1;
    this.kept.set(messageId, offset);
    const duplicate = known === undefined ? {} : { duplicate: true };
    return { type: 'ok', payload: { delivered: [], epoch: 'epoch-1', offset, ...duplicate } };
  }

  /**
   * A message comes in on every socket.
   * @param {any} message
   */
  push(message) {
    for (const socket of this.sockets) socket.tell({ payload: null, ...message });
  }
}
