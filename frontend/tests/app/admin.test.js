// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdminServer, metLimit } from './admin.js';
import { openTab } from './tab.js';
import { until, PATIENT } from './until.js';

vi.setConfig(PATIENT);

/** @type {AdminServer} */
let server;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new AdminServer().install();
});

afterEach(() => {
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

async function administering() {
  const tab = await openTab();
  await tab.auth.signIn('root', 'battery staple');
  const admin = await import('../../src/store/admin.js');
  return {
    ...tab,
    users: admin.useAdminUsers(tab.pinia),
    connections: admin.useAdminConnections(tab.pinia),
    limits: admin.useAdminLimits(tab.pinia),
    overview: admin.useAdminOverview(tab.pinia),
  };
}

/** The questions since the last look, without what stays the same. */
function asked() {
  return server.questions.splice(0).map((question) => question.replace('/v1/admin/', ''));
}

describe('users', () => {
  it('come in pages, forth and back', async () => {
    const { users } = await administering();
    await users.load();
    expect(users.rows.map(({ id }) => id)).toEqual([...Array(25).keys()].map((at) => at + 1));
    expect(users.more).toBe(true);
    await users.next();
    await users.next();
    expect([users.from, users.rows.length, users.more]).toEqual([51, 10, false]);
    await users.previous();
    expect([users.from, users.rows[0].id]).toEqual([26, 26]);
    expect(asked().at(-1)).toBe('GET users?after=25&limit=25');
  });

  it('are searched on the server, from the first page', async () => {
    const { users } = await administering();
    await users.load();
    await users.next();
    await users.find({ search: 'r5', online: true });
    expect(users.rows.map(({ user_handle: handle }) => handle)).toEqual([
      ...['user5', 'user51', 'user53', 'user55', 'user57', 'user59'],
    ]);
    expect(users.from).toBe(1);
    expect(asked().at(-1)).toBe('GET users?search=r5&online=1&after=0&limit=25');
  });

  it('show the answer to the last question, however late the one before comes', async () => {
    const { users } = await administering();
    /** @type {() => void} */
    let open = () => {};
    server.gate = (question) =>
      question.includes('user1&')
        ? new Promise((resolve) => (open = () => resolve(null)))
        : Promise.resolve();
    const slow = users.find({ search: 'user1' });
    await users.find({ search: 'user60' });
    open();
    await slow;
    expect(users.rows.map(({ id }) => id)).toEqual([60]);
    expect(users.busy).toBe(false);
  });

  it('are one alone, by number, also when others have the name in theirs', async () => {
    const { users } = await administering();
    await users.find({ user: 5 });
    expect([users.rows.map(({ id }) => id), users.more]).toEqual([[5], false]);
    server.people.splice(4, 1);
    await users.load();
    expect(users.rows).toEqual([]);
    await users.find({ user: undefined });
    expect(users.rows).toHaveLength(25);
  });

  it('are added with a password that the server made', async () => {
    const { users } = await administering();
    const added = await users.add({ user_handle: 'carol', admin: true });
    expect(added).toMatchObject({ user_handle: 'carol', password: 'made-for-you' });
    expect(server.people.at(-1)).toMatchObject({ user_handle: 'carol', permissions: ['admin'] });
  });

  it('change in the row where they are', async () => {
    const { users } = await administering();
    await users.load();
    await users.change(3, { disabled: true });
    await users.change(3, { admin: true });
    expect(users.rows[2]).toMatchObject({ id: 3, disabled: true, permissions: ['admin'] });
  });

  it('deleted, leave no empty page behind', async () => {
    const { users } = await administering();
    server.people.splice(26);
    await users.load();
    await users.next();
    expect(users.rows.map(({ id }) => id)).toEqual([26]);
    await users.remove(26);
    expect([users.from, users.rows.length]).toEqual([1, 25]);
  });

  it('stay on the page when a reading fails, with the reason in words', async () => {
    const { users } = await administering();
    await users.load();
    server.down = true;
    await users.load();
    expect(users.problem).toMatch(/cannot be reached/);
    expect(users.rows).toHaveLength(25);
    server.down = false;
    await users.load();
    expect(users.problem).toBe('');
  });

  it('are gone with the administrator, and an answer on its way comes to nothing', async () => {
    const { users, connections, limits, overview, auth } = await administering();
    server.limits = [metLimit(3, 'bytes')];
    await Promise.all([users.load(), connections.load(), limits.load(), overview.load()]);
    expect(limits.rows).toHaveLength(1);
    /** @type {() => void} */
    let open = () => {};
    server.gate = () => new Promise((resolve) => (open = () => resolve(null)));
    const late = users.load();
    await auth.signOut();
    await until(() => users.rows.length === 0);
    open();
    await late;
    expect([users.rows, connections.rows, limits.rows]).toEqual([[], [], []]);
    expect(overview.overview).toBeNull();
    expect(users.loaded).toBe(false);
  });
});

describe('connections', () => {
  it('are sorted by the server; the same column again turns the order round', async () => {
    const { connections } = await administering();
    await connections.load();
    await connections.sortBy('queue');
    await connections.sortBy('queue');
    await connections.sortBy('user');
    expect(asked().map((question) => /sort=.*order=\w+/.exec(question)?.[0])).toEqual([
      ...['sort=age&order=asc', 'sort=queue&order=desc'],
      ...['sort=queue&order=asc', 'sort=user&order=asc'],
    ]);
  });

  it('keep their page over readings, and lose it with a new search', async () => {
    const { connections } = await administering();
    await connections.load();
    await connections.turn(1);
    await connections.load();
    expect([connections.query.offset, connections.rows[0].connection_id]).toEqual([50, 'c-51']);
    await connections.find({ search: 'x' });
    expect(connections.query.offset).toBe(0);
  });

  it('go back to the last page that there is when theirs is gone', async () => {
    const { connections } = await administering();
    await connections.load();
    await connections.turn(1);
    await connections.turn(1);
    expect(connections.rows).toHaveLength(20);
    server.live.splice(60);
    await connections.load();
    await until(() => connections.rows.length === 10);
    expect([connections.query.offset, connections.total]).toEqual([50, 60]);
  });

  it('can be closed, and sent a test message', async () => {
    const { connections } = await administering();
    await connections.load();
    expect(await connections.test('c-2')).toEqual({ taken: true });
    await connections.close('c-2');
    await connections.load();
    expect(connections.total).toBe(119);
    expect(asked().slice(1, 3)).toEqual([
      'POST connections/c-2/messages',
      'DELETE connections/c-2',
    ]);
  });
});
