/**
 * A small Switchboard in this process, behind `fetch` and `WebSocket`, with one browser before it:
 * its tabs share a cookie and hear each other. To extend it: HTTP in `#routes`, messages in
 * `Socket.send`.
 */
import { vi } from 'vitest';

const EPOCH = 'epoch-1';

/** @typedef {{ status: number, body?: any, headers?: Record<string, string> }} Answer */

export class FakeServer {
  users = [
    { id: 1, handle: 'ada', password: 'correct horse', permissions: /** @type {string[]} */ ([]) },
    { id: 2, handle: 'root', password: 'battery staple', permissions: ['admin'] },
  ];

  /** @type {any[]} */
  devices = [];

  /** The session that the browser's cookie holds. */
  /** @type {{ user: any, device: any } | null} */
  cookie = null;

  /** Nobody answers: neither requests nor sockets. */
  down = false;

  maxMessageBytes = 65_536;

  /** Watching presence is refused this often. */
  watchRefusals = 0;

  /** @type {Set<Socket>} */
  sockets = new Set();

  /** How many sockets were open when the last sign-out came. */
  socketsAtLogout = NaN;

  /** What was asked for: `POST /v1/auth/login` … */
  /** @type {string[]} */
  asked = [];

  /** Bodies of the requests, by what was asked for. */
  /** @type {Record<string, any>} */
  bodies = {};

  /** @type {Map<string, Answer>} */
  #refusals = new Map();

  /** Takes the place of the network until the test ends. */
  install() {
    const server = this;
    vi.stubGlobal('fetch', (/** @type {string} */ path, /** @type {any} */ options = {}) =>
      server.#fetch(new URL(path, 'http://server').pathname, options),
    );
    vi.stubGlobal(
      'WebSocket',
      class extends Socket {
        constructor() {
          super(server);
        }
      },
    );
    vi.stubGlobal('BroadcastChannel', tabLines());
    return this;
  }

  /**
   * The next such request is answered with this.
   * @param {string} request such as 'GET /v1/devices'
   * @param {number} status
   * @param {string} code
   * @param {Record<string, string>} [headers]
   */
  refuseOnce(request, status, code, headers = {}) {
    this.#refusals.set(request, problem(status, code, headers));
  }

  /** Everything this user's other devices are, without signing in on each. */
  addDevice(user = 1, more = {}) {
    const id = this.devices.length + 1;
    const device = {
      ...{ id, user, device_uuid: `uuid-${id}`, device_type: 'web', created_at: 1, last_seen: 1 },
      ...more,
    };
    this.devices.push(device);
    return device;
  }

  /**
   * The device's number of connections elsewhere changes.
   * @param {number} id
   * @param {number} connections
   */
  connectElsewhere(id, connections) {
    this.#deviceOf(id).elsewhere = connections;
    this.#tellPresence(id);
  }

  /** @param {number} id */
  connectionsOf(id) {
    const here = [...this.sockets].filter((socket) => socket.session?.device.id === id).length;
    return here + (this.#deviceOf(id).elsewhere ?? 0);
  }

  /**
   * Every socket is closed like this.
   * @param {number} code
   * @param {string} [reason]
   */
  closeAll(code, reason) {
    for (const socket of [...this.sockets]) socket.end(code, reason);
  }

  /** @param {any} message */
  tellWatchers(message) {
    for (const socket of this.sockets) if (socket.watches) socket.tell(message);
  }

  /** @param {number} user */
  onlineOf(user) {
    const devices = this.devices
      .filter((device) => device.user === user)
      .map(({ id }) => ({ device_id: id, connections: this.connectionsOf(id) }))
      .filter(({ connections }) => connections > 0);
    return { devices };
  }

  /** @param {number} id */
  #tellPresence(id) {
    const payload = { device_id: id, connections: this.connectionsOf(id) };
    this.tellWatchers({ type: 'presence.changed', payload });
  }

  /** @param {number} id */
  #deviceOf(id) {
    return this.devices.find((device) => device.id === id);
  }

  /** @param {string} path @param {any} options @returns {Promise<Response>} */
  async #fetch(path, { method = 'GET', body }) {
    const request = `${method} ${path}`;
    this.asked.push(request);
    if (body) this.bodies[request] = JSON.parse(body);
    await Promise.resolve();
    if (this.down) throw new TypeError('Failed to fetch');
    const refusal = this.#refusals.get(request);
    this.#refusals.delete(request);
    const answer = refusal ?? this.#answer(method, path, body ? JSON.parse(body) : null);
    const text = answer.body === undefined ? null : JSON.stringify(answer.body);
    return new Response(text, { status: answer.status, headers: answer.headers });
  }

  /** @param {string} method @param {string} path @param {any} body @returns {Answer} */
  #answer(method, path, body) {
    if (path === '/v1/auth/login') return this.#login(body);
    if (!this.cookie) return problem(401, 'unauthorized');
    if (path === '/v1/auth/session') return { status: 200, body: sessionBody(this.cookie) };
    if (path === '/v1/auth/logout') return this.#logout();
    if (path === '/v1/devices') return { status: 200, body: { devices: this.#listed() } };
    if (path === '/v1/devices/revoke-others') return this.#revokeOthers();
    return this.#oneDevice(method, Number(path.split('/').at(-1)), body);
  }

  /** @param {any} body @returns {Answer} */
  #login(body) {
    const user = this.users.find((one) => one.handle === body.user_handle);
    if (!user || user.password !== body.password) return problem(401, 'invalid_credentials');
    const known = this.devices.find(
      (one) => one.device_uuid === body.device_uuid && one.user === user.id,
    );
    const device = known ?? this.addDevice(user.id, body);
    this.cookie = { user, device };
    return { status: 201, body: { token: 'secret', ...sessionBody(this.cookie) } };
  }

  /** @returns {Answer} */
  #logout() {
    this.socketsAtLogout = this.sockets.size;
    this.cookie = null;
    this.closeAll(1000, 'signed_out');
    return { status: 200, body: { signed_out: true } };
  }

  #listed() {
    const { user, device: mine } = /** @type {any} */ (this.cookie);
    return this.devices
      .filter((device) => device.user === user.id)
      .map(({ elsewhere: _, user: __, password: ___, user_handle: ____, ...device }) => ({
        ...device,
        online: this.connectionsOf(device.id) > 0,
        connections: Array(this.connectionsOf(device.id)).fill({}),
        this_device: device.id === mine.id,
      }));
  }

  /** @returns {Answer} */
  #revokeOthers() {
    const mine = this.cookie?.device.id;
    this.devices = this.devices.filter((device) => device.id === mine);
    return { status: 200, body: { revoked: [] } };
  }

  /** @param {string} method @param {number} id @param {any} body @returns {Answer} */
  #oneDevice(method, id, body) {
    const device = this.#deviceOf(id);
    if (!device) return problem(404, 'device_not_found');
    if (method === 'PATCH') {
      device.device_name = body.device_name ?? undefined;
      return { status: 200, body: this.#listed().find((one) => one.id === id) };
    }
    this.devices = this.devices.filter((one) => one.id !== id);
    return { status: 204 };
  }
}

/** The browser's end of a connection to the fake server. */
class Socket {
  static OPEN = 1;
  readyState = 0;
  watches = false;
  /** @type {((event: any) => void) | null} */
  onopen = null;
  /** @type {((event: any) => void) | null} */
  onmessage = null;
  /** @type {((event: any) => void) | null} */
  onclose = null;

  /** @param {FakeServer} server */
  constructor(server) {
    this.server = server;
    this.session = server.cookie;
    queueMicrotask(() => this.#begin());
  }

  #begin() {
    if (this.readyState !== 0) return;
    if (this.server.down || !this.session) return this.end(1006);
    this.readyState = 1;
    this.server.sockets.add(this);
    this.onopen?.({});
    const { user, device } = this.session;
    const resume = { outcome: 'live', epoch: EPOCH, offset: 0, head: 0 };
    this.tell({
      type: 'connected',
      payload: {
        ...{ device_id: device.id, user_id: user.id, connection_id: 'c-1', instance: 'i' },
        ...{ server_version: '9.9', heartbeat_seconds: 25, resume },
        max_message_bytes: this.server.maxMessageBytes,
      },
    });
    this.tell({ type: 'position', payload: { epoch: EPOCH, offset: 0, live: true } });
  }

  /** @param {string} text */
  send(text) {
    const { type, id } = JSON.parse(text);
    if (type === 'ping') this.tell({ type: 'pong', payload: null, reply_to: id });
    if (type !== 'presence.watch') return;
    this.watches = true;
    if (this.server.watchRefusals-- > 0) {
      const payload = { code: 'rate_limited', message: 'too fast' };
      return this.tell({ type: 'error', payload, reply_to: id });
    }
    const { user } = /** @type {any} */ (this.session);
    this.tell({ type: 'presence.devices', payload: this.server.onlineOf(user.id), reply_to: id });
  }

  /** @param {any} message */
  tell(message) {
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(message) }));
  }

  /** @param {number} code @param {string} [reason] */
  end(code, reason = '') {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.server.sockets.delete(this);
    queueMicrotask(() => this.onclose?.({ code, reason, wasClean: code !== 1006 }));
  }

  close() {
    this.end(1000);
  }
}

/** A BroadcastChannel of this test alone: Node's own would reach other tests too. */
function tabLines() {
  /** @type {Set<any>} */
  const lines = new Set();
  return class {
    /** @type {((event: { data: unknown }) => void) | null} */
    onmessage = null;

    constructor() {
      lines.add(this);
    }

    /** @param {unknown} data */
    postMessage(data) {
      for (const line of lines) if (line !== this) queueMicrotask(() => line.onmessage?.({ data }));
    }
  };
}

/** @param {{ user: any, device: any }} session */
function sessionBody({ user, device }) {
  const { id: user_id, handle: user_handle, permissions } = user;
  return { user_id, user_handle, permissions, device_id: device.id };
}

/**
 * @param {number} status
 * @param {string} code
 * @param {Record<string, string>} [headers]
 * @returns {Answer}
 */
function problem(status, code, headers = {}) {
  return { status, body: { status, code, detail: `The server says ${code}.` }, headers };
}
