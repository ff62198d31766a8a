// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AdminServer, metLimit } from './admin.js';
import { button, openPage, says } from './pages.js';
import { until, PATIENT } from './until.js';

vi.setConfig(PATIENT);

/** @type {AdminServer} */
let server;
/** @type {import('@vue/test-utils').VueWrapper[]} */
const mounted = [];

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new AdminServer().install();
});

afterEach(() => {
  for (const wrapper of mounted.splice(0)) wrapper.unmount();
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** @param {string} path */
async function at(path) {
  const opened = await openPage(path);
  mounted.push(opened.page);
  return opened;
}

/** @param {Awaited<ReturnType<typeof at>>['page']} page */
function rows(page) {
  return page
    .findAll('[data-testid=limit]')
    .map((row) => row.findAll('td').map((cell) => cell.text()));
}

it('says calmly that nobody met a limit', async () => {
  const { page } = await at('/admin/limits');
  await says(page, 'Nobody met a limit in the last hour');
  expect(page.find('[role=alert]').exists()).toBe(false);
});

it('shows who met which limit in words, how often, since when and when last', async () => {
  server.limits = [
    metLimit(3, 'writes', { count: 12_345 }),
    metLimit(5, 'connection', { count: 1, last_at: Date.now() - 3 * 60_000 }),
  ];
  const { page } = await at('/admin/limits');
  await says(page, 'user3');
  expect(rows(page)).toEqual([
    [
      'user3',
      'Changes over HTTP user_writes_per_second',
      '12,345 times',
      '5 minutes ago',
      'just now',
    ],
    [
      'user5',
      'Messages or bytes of one connection messages_per_second, bytes_per_second',
      ...['once', '5 minutes ago', '3 minutes ago'],
    ],
  ]);
});

it('shows a limit that only a newer server has by its name', async () => {
  server.limits = [metLimit(3, 'moons')];
  const { page } = await at('/admin/limits');
  await says(page, 'moons');
});

it('leads to the user alone, whom one can manage there, and back to everyone', async () => {
  server.limits = [metLimit(5, 'bytes')];
  const { page, router } = await at('/admin/limits');
  await says(page, 'user5');
  await page.get('[data-testid=limit] a').trigger('click');
  await says(page, 'Only user5');
  await until(() => page.findAll('[data-testid=user]').length === 1);
  await button(page, 'Manage user5').trigger('click');
  await button(page, 'Disable').trigger('click');
  await until(() => server.people[4].disabled);
  await button(page, 'Show everyone').trigger('click');
  await until(() => page.findAll('[data-testid=user]').length === 25);
  expect(router.currentRoute.value.query).toEqual({});
});

it('names a user from outside as the application does, and links nobody who is deleted', async () => {
  server.limits = [
    metLimit(7, 'bytes', { user_handle: undefined, sub: 'customer-7' }),
    metLimit(8, 'bytes', { user_handle: undefined }),
  ];
  const { page } = await at('/admin/limits');
  await says(page, 'User 8, deleted');
  expect(page.findAll('[data-testid=limit] a').map((link) => link.text())).toEqual(['customer-7']);
});

it('says of a user who is gone that they are, and leads back to all', async () => {
  server.people.splice(4, 1);
  const { page } = await at('/admin/users?user=5');
  await says(page, 'This user is gone');
  await button(page, 'Show all users').trigger('click');
  await says(page, 'user6');
});

it('says that there are more than it shows', async () => {
  server.limits = Array.from({ length: 201 }, (_, index) => metLimit(index + 1, 'bytes'));
  const { page } = await at('/admin/limits');
  await says(page, 'Only the newest 200 are shown.');
});

it('reads the limits again every five seconds', async () => {
  const { page } = await at('/admin/limits');
  await says(page, 'Nobody met a limit');
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  // What is hidden and seen again reads at once, and plans with the timers of the test from then on.
  document.dispatchEvent(new Event('visibilitychange'));
  await vi.advanceTimersByTimeAsync(100);
  server.limits = [metLimit(3, 'durable')];
  await vi.advanceTimersByTimeAsync(5_000);
  expect(rows(page)).toHaveLength(1);
});

it('keeps what it has while the server cannot be reached, says so, and tries again', async () => {
  server.limits = [metLimit(3, 'upgrades')];
  const { page, router } = await at('/admin/limits');
  await says(page, 'user3');
  await router.push('/admin/users');
  server.down = true;
  await router.push('/admin/limits');
  await says(page, 'The limits could not be read');
  expect(rows(page)).toHaveLength(1);
  server.down = false;
  await button(page, 'Try again').trigger('click');
  await until(() => !page.text().includes('could not be read'));
});
