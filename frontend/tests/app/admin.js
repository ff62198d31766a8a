/**
 * What the fake server lacks for the Admin screens: users and connections in lists, cut into pages.
 * To extend it: `answerAdmin`.
 */
import { vi } from 'vitest';
import { FakeServer } from './server.js';

export class AdminServer extends FakeServer {
  people = Array.from({ length: 60 }, (_, index) => person(index + 1));
  clockAhead = 0;
  /** @type {any[]} */
  limits = [];
  live = Array.from({ length: 120 }, (_, index) => connection(index + 1));

  /** What was asked of the admin API: `GET /v1/admin/users?after=0…`. */
  /** @type {string[]} */
  questions = [];

  /** Resolves before a question is answered; tests put their own here. */
  /** @type {(question: string) => Promise<unknown>} */
  gate = () => Promise.resolve();

  install() {
    super.install();
    const plain = fetch;
    vi.stubGlobal('fetch', async (/** @type {string} */ path, /** @type {any} */ options = {}) => {
      if (!path.startsWith('/v1/admin/')) return plain(path, options);
      const question = `${options.method} ${path}`;
      this.questions.push(question);
      const body = options.body ? JSON.parse(options.body) : null;
      await this.gate(question);
      if (this.down) throw new TypeError('Failed to fetch');
      const [status, answer] = this.answerAdmin(question, body);
      return new Response(answer === null ? null : JSON.stringify(answer), { status });
    });
    return this;
  }

  /** @param {string} question @param {any} body @returns {[number, any]} */
  answerAdmin(question, body) {
    const [method, address] = question.split(' ');
    const { pathname, searchParams } = new URL(address, 'http://server');
    const [, , , noun, id, verb] = pathname.split('/');
    if (noun === 'overview') return [200, this.#overview()];
    if (noun === 'limits')
      return [200, { limits: this.limits.slice(0, +searchParams.get('limit')) }];
    if (noun === 'connections') return this.#connections(method, id, verb, searchParams);
    if (method === 'GET') return [200, this.#users(searchParams)];
    if (method === 'POST' && verb === 'password') return [200, { password: 'made-for-you' }];
    if (method === 'POST') return this.#add(body);
    return this.#change(method, Number(id), body);
  }

  #overview() {
    const { people, clockAhead } = this;
    return { users: people.length, started_at: 0, clock_ahead_seconds: clockAhead };
  }

  /** @param {URLSearchParams} query */
  #users(query) {
    const found = this.people
      .filter(({ id }) => id > Number(query.get('after') ?? 0))
      .filter(({ user_handle: handle }) => handle.includes(query.get('search') ?? ''))
      .filter(({ connections }) => !query.get('online') || connections > 0);
    const limit = Number(query.get('limit'));
    return { users: found.slice(0, limit), more: found.length > limit };
  }

  /** @param {any} body @returns {[number, any]} */
  #add({ user_handle: handle, admin }) {
    if (this.people.some((one) => one.user_handle === handle))
      return [409, { code: 'handle_taken', detail: 'This handle is taken.' }];
    const added = { ...person(this.people.length + 1), user_handle: handle };
    if (admin) added.permissions = ['admin'];
    this.people.push(added);
    return [201, { ...added, password: 'made-for-you' }];
  }

  /** @param {string} method @param {number} id @param {any} body @returns {[number, any]} */
  #change(method, id, body) {
    const found = this.people.find((one) => one.id === id);
    if (!found) return [404, { code: 'user_not_found', detail: 'There is no such user.' }];
    if (method === 'DELETE') {
      this.people = this.people.filter((one) => one.id !== id);
      return [204, null];
    }
    if ('disabled' in body) found.disabled = body.disabled;
    if ('admin' in body) found.permissions = body.admin ? ['admin'] : [];
    return [200, found];
  }

  /**
   * @param {string} method
   * @param {string} id
   * @param {string} verb
   * @param {URLSearchParams} query
   * @returns {[number, any]}
   */
  #connections(method, id, verb, query) {
    if (verb === 'messages') return [200, { taken: true }];
    if (method === 'DELETE') {
      this.live = this.live.filter((one) => one.connection_id !== id);
      return [204, null];
    }
    const start = Number(query.get('offset'));
    const page = this.live.slice(start, start + Number(query.get('limit')));
    return [200, { total: this.live.length, connections: page }];
  }
}

/** @param {number} id */
function person(id) {
  return {
    ...{ id, user_handle: `user${id}`, permissions: /** @type {string[]} */ ([]) },
    ...{ disabled: false, created_at: 1, devices: 1, connections: id % 2 },
  };
}

/**
 * A limit that somebody has met, twice and a moment ago if nothing else is said.
 *
 * @param {number} user
 * @param {string} limit
 * @param {any} [more]
 */
export function metLimit(user, limit, more = {}) {
  const now = Date.now();
  return {
    ...{ user_id: user, user_handle: `user${user}`, limit },
    ...{ count: 2, began_at: now - 5 * 60_000, last_at: now, ...more },
  };
}

/** @param {number} id */
function connection(id) {
  return {
    ...{ connection_id: `c-${id}`, user_id: id, user_handle: `user${id}`, device_id: id },
    ...{ device_type: 'web', instance: 'i', address: '127.0.0.1', positioned: true, behind: false },
    tailed: false,
    ...{ queue_frames: 0, queue_bytes: 0, lag: 0, connected_at: 1, heard_seconds: 1 },
    ...{ frames_in: 1, frames_out: 2, dropped: 0 },
  };
}
