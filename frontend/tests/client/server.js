/**
 * A server for tests, in this process: it answers as docs/protocol.md says, over sockets that are
 * made of timers. Use it with fake timers: each frame takes `LATENCY` milliseconds each way.
 *
 *     const server = new FakeServer();
 *     new server.WebSocket(url, protocols)   what a page gets instead of the browser's
 *     server.fetch(url)                      the same for GET /v1/auth/session
 *     server.store('note.text', 1)           a durable message, to all connections and later ones
 *     server.push('note.text', 1)            an ephemeral one
 *     server.store('a.b', 1, { key: 'k' })   a latest value; server.remove('a.b', 'k') deletes it
 *     server.expire(7)                       retention removes all up to this offset
 *     server.close(4002, 'too_slow')         closes all, with `goaway` if one is given
 *     server.cut()                           the network is gone: closes arrive as 1006
 *
 * To have it answer another type, give `server.replies.set('weather.today', (message, peer) => …)`:
 * what that returns is sent with `reply_to`; `undefined` sends nothing. An `Error` with a `code`
 * becomes an `error`, with `retry_after_ms` if it has `retryAfter`. `server.seen` has every message that
 * came, `server.urls` every upgrade.
 * What a server refuses is set with `refusing` (upgrades fail), `silent` (nothing is answered, as of
 * a stopped process) and `session` (what /v1/auth/session answers).
 */

export const LATENCY = 5;

export class FakeServer {
  epoch = 'epoch-1';

  /** What positions name: the epoch and its newest generation. */
  text = 'epoch-1';
  user = 1;
  device = 7;

  /** Each `{offset, message, key, target}` in order. */
  stream = [];

  #floor = 0;

  /** Whether what was stored is held back, so that connections stay behind. */
  holding = false;

  refusing = false;
  silent = false;
  session = { status: 200, headers: {} };
  maxMessageBytes = 65536;

  /** Seconds until a token ends, as told; undefined: it has no end. The fake ends none by itself. */
  expiresIn = undefined;
  urls = [];
  protocols = [];
  asked = [];
  seen = [];
  replies = new Map();

  /** Connections that were accepted and not closed. */
  peers = new Set();

  #head = 0;

  /** By the text of each generation but the newest, the first offset of the next one. */
  #ends = new Map();
  #starts = 0;
  #cursor;
  #stored = new Map();
  #connections = 0;

  constructor() {
    const server = this;
    this.WebSocket = class extends FakeWebSocket {
      constructor(url, protocols) {
        super(server, url, protocols);
      }
    };
    this.fetch = (url, options) => this.#answerSession(url, options);
  }

  get head() {
    return this.#head;
  }

  /** A message is kept and sent; returns its offset. */
  store(type, payload = null, { key, snapshotOnly = false, deleted } = {}) {
    const offset = ++this.#head;
    if (key) this.stream = this.stream.filter((row) => row.key !== key);
    const message = { type, payload, offset, time: Date.now(), key, deleted };
    this.stream.push({ offset, key, message });
    if (!snapshotOnly) this.#deliver();
    return offset;
  }

  /** The value of this key is deleted; returns the offset of the deletion. */
  remove(type, key) {
    return this.store(type, null, { key, deleted: true });
  }

  /** What was kept up to here is too old: deletions and messages go, values stay. */
  prune() {
    this.stream = this.stream.filter(({ key, message }) => key && !message.deleted);
    this.#floor = this.#head;
  }

  push(type, payload = null, more = {}) {
    for (const peer of this.peers) peer.tell({ type, payload, ...more });
  }

  /** Retention: what is kept up to here is gone, values apart, and positions below are `reset`. */
  expire(upto) {
    this.#floor = upto;
    this.stream = this.stream.filter(({ offset, key }) => key || offset > upto);
  }

  /** Closes all connections, or those of one instance, as our code would. */
  close(code, reason, { goaway, instance } = {}) {
    for (const peer of [...this.peers]) {
      if (instance && peer.instance !== instance) continue;
      if (goaway) peer.tell({ type: 'goaway', payload: { reason, ...goaway } });
      this.#drop(peer, code, reason);
    }
  }

  /** All connections are lost without a word, and what was on its way with them. */
  cut() {
    for (const peer of [...this.peers]) {
      this.peers.delete(peer);
      peer.socket.end(1006, '');
    }
  }

  /** What was held back goes out. */
  release() {
    this.holding = false;
    this.#deliver();
  }

  /** Stops and starts: what is kept is there again, in a generation of its own. */
  restart() {
    this.cut();
    this.#ends.set(this.text, this.#head + 1);
    this.text = `${this.epoch}.${++this.#starts}`;
  }

  /** What `putBack` puts back: all that is kept now. */
  copy() {
    const ends = new Map(this.#ends);
    return { text: this.text, stream: [...this.stream], head: this.#head, ends };
  }

  /** Stops, and starts with the copy. */
  putBack({ text, stream, head, ends }) {
    Object.assign(this, { text, stream });
    this.#head = head;
    this.#ends = ends;
    this.restart();
  }

  /** Numbers begin again: what a page knows says nothing any more. */
  beginEpoch(epoch) {
    this.epoch = this.text = epoch;
    this.#ends.clear();
    this.stream = [];
    this.#head = 0;
    this.#cursor = undefined;
  }

  upgrade(socket) {
    const url = new URL(socket.url);
    this.urls.push(url);
    this.protocols.push(socket.protocols);
    if (this.silent) return;
    if (this.refusing) return socket.arrive(() => socket.end(1006, ''));
    socket.arrive(() => socket.begin());
    this.#welcome(new Peer(this, socket, url.searchParams, ++this.#connections));
  }

  receive(peer, text) {
    if (this.silent || !this.peers.has(peer)) return;
    if (text.length > this.maxMessageBytes) return this.#drop(peer, 1009, '');
    const message = JSON.parse(text);
    this.seen.push(message);
    const reply = this.#reply(peer, message);
    if (message.id === undefined || reply === undefined) return;
    peer.tell({ ...asReply(reply), reply_to: message.id });
  }

  left(peer) {
    this.peers.delete(peer);
  }

  #reply(peer, message) {
    const scripted = this.replies.get(message.type);
    if (scripted) return scripted(message, peer);
    if (message.type === 'ping') return { type: 'pong', payload: null };
    if (message.type === 'ack') this.#cursor = Math.max(this.#cursor ?? 0, message.payload.offset);
    if (message.type === 'device.send') return this.#sendDevice(message.payload);
    if (message.type === 'token.refresh') {
      return { type: 'ok', payload: { delivered: [], expires_in: this.expiresIn } };
    }
    return { type: 'ok', payload: { delivered: [] } };
  }

  #sendDevice({ type, payload, store, key, delete: deleted, message_id: id }) {
    if (!store || store === 'none') return { type: 'ok', payload: { delivered: [] } };
    const prior = this.#stored.get(id);
    const offset = prior ?? this.store(type, payload, { key, deleted });
    this.#stored.set(id, offset);
    const answer = { delivered: [], epoch: this.epoch, offset };
    return { type: 'ok', payload: prior ? { ...answer, duplicate: true } : answer };
  }

  #welcome(peer) {
    for (const other of [...this.peers]) {
      if (other.instance === peer.instance) this.#drop(other, 1000, 'replaced');
    }
    this.peers.add(peer);
    const resume = this.#resume(peer.query);
    peer.position = resume.offset;
    if (resume.outcome === 'reset') peer.replayUpto = this.#head;
    peer.tell({ type: 'connected', payload: this.#facts(peer, resume) });
    if (resume.outcome !== 'resumed' || resume.fromCursor || peer.query.get('snapshot') === '1') {
      this.#snapshot(peer);
    }
    peer.fresh = true;
    this.#catchUp(peer);
  }

  #facts(peer, { outcome, offset }) {
    return {
      device_id: this.device,
      user_id: this.user,
      server_version: '9.9.9',
      connection_id: `c-${peer.number}`,
      instance: peer.instance,
      heartbeat_seconds: 25,
      max_message_bytes: this.maxMessageBytes,
      expires_in: this.expiresIn,
      resume: { outcome, epoch: this.text, offset, head: this.#head },
    };
  }

  #resume(query) {
    const live = { outcome: 'live', offset: this.#head };
    if (query.get('resume') === 'live') return live;
    const given = query.get('epoch');
    if (given === null) {
      if (this.#cursor === undefined) return live;
      return { outcome: 'resumed', offset: this.#cursor, fromCursor: true };
    }
    const offset = Number(query.get('offset'));
    const end = given === this.text ? this.#head + 1 : (this.#ends.get(given) ?? 0);
    if (offset >= end) return { outcome: 'reset', offset: this.#head };
    return { outcome: offset < this.#floor ? 'reset' : 'resumed', offset };
  }

  #snapshot(peer) {
    for (const { key, message } of this.stream) {
      if (key && !message.deleted) peer.tell({ ...message, snapshot: true });
    }
  }

  #deliver() {
    for (const peer of this.peers) this.#catchUp(peer);
  }

  #catchUp(peer) {
    if (this.holding) return;
    const behind = this.stream.filter(({ offset }) => offset > peer.position);
    for (const { offset, message } of behind) {
      peer.tell(offset > peer.replayUpto ? message : { ...message, replayed: true });
    }
    peer.position = this.#head;
    if (peer.fresh) this.#tellPosition(peer);
    peer.fresh = false;
  }

  #tellPosition(peer) {
    const payload = { epoch: this.text, offset: peer.position, live: true };
    peer.tell({ type: 'position', payload });
  }

  #drop(peer, code, reason) {
    this.peers.delete(peer);
    peer.socket.arrive(() => peer.socket.end(code, reason));
  }

  async #answerSession(url, options) {
    this.asked.push({ url, headers: options.headers });
    await new Promise((resolve) => setTimeout(resolve, LATENCY));
    if (this.session instanceof Error) throw this.session;
    if (this.silent) await hang(options.signal);
    return new Response(null, this.session);
  }
}

/** One accepted connection, as the server knows it. */
class Peer {
  position = 0;

  /** What comes up to here is marked as replayed. */
  replayUpto = 0;

  /** Whether no `position` was told yet. */
  fresh = false;

  constructor(server, socket, query, number) {
    this.server = server;
    this.socket = socket;
    this.query = query;
    this.number = number;
    this.instance = query.get('instance');
    socket.peer = this;
  }

  tell(message) {
    const text = JSON.stringify(message);
    this.socket.arrive(() => this.socket.deliver(text));
  }
}

/** The page's end of a connection: the part of the browser's WebSocket that matters. */
class FakeWebSocket {
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  peer = null;

  #server;

  constructor(server, url, protocols = []) {
    if (!/^wss?:/.test(url)) throw new SyntaxError(`not a WebSocket URL: ${url}`);
    this.#server = server;
    this.url = url;
    this.protocols = protocols;
    setTimeout(() => this.readyState === 0 && server.upgrade(this), LATENCY);
  }

  send(text) {
    if (this.readyState === 0) throw new Error('InvalidStateError');
    if (this.readyState === 1) setTimeout(() => this.#server.receive(this.peer, text), LATENCY);
  }

  /** As in a browser, the close is told later, and what was sent before still goes. */
  close(code = 1005) {
    if (this.readyState > 1) return;
    const wasOpen = this.readyState === 1;
    this.readyState = 2;
    setTimeout(() => {
      if (this.peer) this.#server.left(this.peer);
    }, LATENCY);
    setTimeout(() => this.end(wasOpen ? code : 1006, ''), 2 * LATENCY);
  }

  /** Something is on its way to the page. */
  arrive(happen) {
    setTimeout(happen, LATENCY);
  }

  begin() {
    if (this.readyState !== 0) return;
    this.readyState = 1;
    this.onopen?.({});
  }

  deliver(data) {
    if (this.readyState === 1 || this.readyState === 2) this.onmessage?.({ data });
  }

  end(code, reason) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

function asReply(reply) {
  if (!(reply instanceof Error)) return reply;
  const { code, message, retryAfter: retry_after_ms } = reply;
  return { type: 'error', payload: { code, message, retry_after_ms } };
}

function hang(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
  });
}
