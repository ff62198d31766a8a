// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AdminServer } from './admin.js';
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

/** @param {string} path @param {[string, string]} [who] */
async function at(path, who) {
  const opened = await openPage(path, who);
  mounted.push(opened.page);
  return opened;
}

/** @param {import('./pages.js').Page} page @param {string} label */
function field(page, label) {
  const name = page.findAll('label').find((one) => one.text() === label);
  return page.get(`[id="${name?.attributes('for')}"]`);
}

it('tells who is no administrator so, and asks the server nothing', async () => {
  const { page } = await at('/admin/users', ['ada', 'correct horse']);
  await says(page, 'This page is for administrators');
  expect(server.questions).toEqual([]);
});

it('shows the password of a new user once', async () => {
  const { page } = await at('/admin/users');
  await says(page, 'user1');
  await button(page, 'Add a user').trigger('click');
  await field(page, 'New handle').setValue('user7');
  await page.get('dialog form').trigger('submit');
  await says(page, 'This handle is taken.');
  await field(page, 'New handle').setValue('carol');
  await page.get('dialog form').trigger('submit');
  await says(page, 'made-for-you');
  await button(page, 'Done').trigger('click');
  await until(() => !page.text().includes('made-for-you'));
});

it('deletes a user only when the handle is typed', async () => {
  const { page } = await at('/admin/users');
  await says(page, 'user3');
  await button(page, 'Manage user3').trigger('click');
  await button(page, 'Delete…').trigger('click');
  expect(button(page, 'Delete').attributes('disabled')).toBeDefined();
  await page.get('dialog form').trigger('submit');
  await field(page, 'Type user3 to confirm').setValue('user3');
  expect(server.people).toHaveLength(60);
  await page.get('dialog form').trigger('submit');
  await until(() => server.people.length === 59);
  await until(() => !page.text().includes('Delete user3?'));
});

it('offers nobody to disable or delete themselves', async () => {
  const { page } = await at('/admin/users');
  await says(page, 'user2');
  await button(page, 'Manage user2').trigger('click');
  await says(page, 'Nobody disables, demotes or deletes themselves');
  expect(page.findAll('dialog button').map((one) => one.text())).toEqual(['Close']);
});

it('disables and enables a user', async () => {
  const { page } = await at('/admin/users');
  await says(page, 'user3');
  await button(page, 'Manage user3').trigger('click');
  await button(page, 'Disable').trigger('click');
  await until(() => server.people[2].disabled);
  await says(page, 'Disabled: cannot sign in.');
  await button(page, 'Enable').trigger('click');
  await until(() => !server.people[2].disabled);
});

it('reads the connections again every five seconds, but not while paused', async () => {
  const { page } = await at('/admin/connections');
  await says(page, 'user1');
  const readings = () => server.questions.filter((one) => one.includes('connections?')).length;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  await button(page, 'Pause').trigger('click');
  await button(page, 'Go on').trigger('click');
  await vi.advanceTimersByTimeAsync(100);
  const before = readings();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(readings()).toBe(before + 1);
  await button(page, 'Pause').trigger('click');
  await vi.advanceTimersByTimeAsync(20_000);
  expect(readings()).toBe(before + 1);
});

it('shows the connections of one user, and of everyone again', async () => {
  const { page, router } = await at('/admin/connections?user=5');
  await says(page, 'Only user5');
  expect(server.questions.find((one) => one.includes('connections?'))).toContain('user=5');
  await button(page, 'Show everyone').trigger('click');
  await until(() => !page.text().includes('Only user5'));
  expect(router.currentRoute.value.query).toEqual({});
  expect(server.questions.at(-1)).not.toContain('user=');
});

it('closes a connection after asking, and says so', async () => {
  const { page } = await at('/admin/connections');
  await says(page, 'user1');
  await button(page, 'Test user1, Device 1').trigger('click');
  await says(page, 'user1, Device 1 took the test message.');
  await button(page, 'Close user1, Device 1').trigger('click');
  expect(server.live).toHaveLength(120);
  await button(page, 'Close the connection').trigger('click');
  await says(page, 'The connection of user1, Device 1 was closed.');
  expect(server.live).toHaveLength(119);
});

it('says when the server cannot be reached, keeps what it has, and tries again', async () => {
  const { page } = await at('/admin/connections');
  await says(page, 'user1');
  server.down = true;
  await button(page, 'Next').trigger('click');
  await says(page, 'The connections could not be read');
  expect(page.text()).toContain('user1');
  server.down = false;
  await button(page, 'Try again').trigger('click');
  await until(() => !page.text().includes('could not be read'));
});

it.each([
  [7200, '2 h 0 min ahead of'],
  [-90, '1 min 30 s behind'],
])('says that the clock of the server is %i s ahead', async (seconds, words) => {
  server.clockAhead = seconds;
  const { page } = await at('/admin/users');
  await says(page, words);
  expect(page.get('[role=alert]').text()).toContain('is not trusted yet');
});

it('says nothing of a clock that is trusted', async () => {
  const { page } = await at('/admin/users');
  await says(page, 'Up for');
  await says(page, 'user1');
  expect(page.find('[role=alert]').exists()).toBe(false);
});
