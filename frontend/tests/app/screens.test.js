// @vitest-environment happy-dom
import { flushPromises, mount } from '@vue/test-utils';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createMemoryHistory } from 'vue-router';
import { FakeServer } from './server.js';
import { connected, openTab, signedInTab, until } from './tab.js';

/** @type {FakeServer} */
let server;
/** @type {import('@vue/test-utils').VueWrapper | undefined} */
let page;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new FakeServer().install();
});

afterEach(() => {
  page?.unmount();
  page = undefined;
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

/**
 * The whole app in this tab, at this address.
 * @param {Awaited<ReturnType<typeof openTab>>} tab
 * @param {string} path
 */
async function openApp(tab, path) {
  const { default: App } = await import('../../src/App.vue');
  const { createAppRouter } = await import('../../src/router.js');
  const history = createMemoryHistory();
  history.replace(path);
  const router = createAppRouter(tab.auth, history);
  page = mount(App, { global: { plugins: [tab.pinia, router] }, attachTo: document.body });
  void tab.auth.start();
  await router.isReady();
  await flushPromises();
  return { router, page };
}

/** @param {string} name what it says, or its aria-label */
function button(name) {
  const all = [...document.querySelectorAll('button')];
  const found = all.find(
    (one) => (one.getAttribute('aria-label') ?? one.textContent)?.trim() === name,
  );
  if (!found) throw new Error(`there is no button ${name}`);
  return found;
}

const heading = () => document.querySelector('h1')?.textContent;
const alertText = () => document.querySelector('[role=alert]')?.textContent ?? '';

/** @param {string} label @param {string} text */
async function fill(label, text) {
  const labels = [...document.querySelectorAll('label')];
  const id = labels.find((one) => one.textContent === label)?.htmlFor ?? '';
  const input = /** @type {HTMLInputElement} */ (document.getElementById(id));
  input.value = text;
  input.dispatchEvent(new Event('input'));
  await flushPromises();
}

/** @param {string} handle @param {string} password */
async function signIn(handle, password) {
  await fill('Handle', handle);
  await fill('Password', password);
  document.querySelector('form')?.dispatchEvent(new Event('submit', { cancelable: true }));
  await flushPromises();
}

describe('the sign-in', () => {
  test('comes first, and leads on to where one wanted to go', async () => {
    const { router } = await openApp(await openTab(), '/connection');
    expect(heading()).toBe('Sign in');
    await signIn('ada', 'correct horse');
    await until(() => heading() === 'Connection');
    expect(router.currentRoute.value.path).toBe('/connection');
  });

  test('never leads to another site', async () => {
    const { safeTarget } = await import('../../src/router.js');
    expect(
      ['//evil.example', '/\\evil.example', 'https://evil.example', undefined].map(safeTarget),
    ).toEqual(Array(4).fill('/'));
    expect(safeTarget('/admin/users?search=x')).toBe('/admin/users?search=x');
  });

  test('says that handle or password is wrong, and puts the focus on the password', async () => {
    await openApp(await openTab(), '/sign-in');
    await signIn('ada', 'wrong');
    await until(() => alertText());
    expect(alertText()).toContain('invalid_credentials');
    expect(document.activeElement?.getAttribute('type')).toBe('password');
  });

  test('counts down after too many attempts, and asks nothing meanwhile', async () => {
    await openApp(await openTab(), '/sign-in');
    server.refuseOnce('POST /v1/auth/login', 429, 'too_many_attempts', { 'Retry-After': '42' });
    await signIn('ada', 'wrong');
    await until(() => alertText());
    expect(document.body.textContent).toContain('You can try again in 42 s.');
    expect(button('Sign in').disabled).toBe(true);
    const asked = server.asked.length;
    await signIn('ada', 'correct horse');
    expect(server.asked).toHaveLength(asked);
  });

  test('says when an account has too many new devices, and lets others sign in', async () => {
    await openApp(await openTab(), '/sign-in');
    server.refuseOnce('POST /v1/auth/login', 429, 'too_many_devices', { 'Retry-After': '7200' });
    await signIn('ada', 'correct horse');
    await until(() => alertText());
    expect(alertText()).toContain('Use one that was signed in before, or try again in 2 h');
    expect(button('Sign in').disabled).toBe(false);
  });

  test('says that the server cannot be reached', async () => {
    await openApp(await openTab(), '/sign-in');
    server.down = true;
    await signIn('ada', 'correct horse');
    await until(() => alertText());
    expect(alertText()).toContain('cannot be reached');
    expect(button('Sign in').disabled).toBe(false);
  });
});

describe('the shell', () => {
  test('shows the state of the connection in words', async () => {
    const tab = await signedInTab();
    await openApp(tab, '/');
    await connected(tab);
    const dot = () => document.querySelector('[data-testid=status]');
    await until(() => dot()?.getAttribute('data-status') === 'connected');
    expect(dot()?.textContent).toBe('Connected');
    tab.websocket.goOffline();
    await until(() => dot()?.getAttribute('data-status') === 'disconnected');
    expect(dot()?.textContent).toBe('Offline, because you went offline');
  });

  const note = () => document.querySelector('[data-testid=connection-note]')?.textContent ?? '';

  test.each(['/', '/playground', '/connection'])(
    'says on %s why the server closed the tab for good, and has a button to come back',
    async (path) => {
      const tab = await signedInTab();
      await openApp(tab, path);
      await connected(tab);
      expect(note()).toBe('');
      server.closeAll(1000, 'too_many');
      await until(note);
      expect(note()).toContain('this device has too many connections');
      expect(note()).toContain('closes the one that was silent for longest');
      button('Connect now').click();
      await connected(tab);
      await until(() => !note());
    },
  );

  test('says that the server is away, and tries at once when it is told to', async () => {
    const tab = await signedInTab();
    await openApp(tab, '/');
    await connected(tab);
    server.down = true;
    server.closeAll(1006);
    await until(() => note().includes('The server cannot be reached'));
    server.down = false;
    await until(() => {
      const now = [...document.querySelectorAll('button')];
      now.find((one) => one.textContent?.trim() === 'Connect now')?.click();
      return !note();
    });
    await connected(tab);
  });

  test('says that one went offline, with one button to go online again', async () => {
    const tab = await signedInTab();
    const { router } = await openApp(tab, '/connection');
    await connected(tab);
    button('Go offline').click();
    await until(() => note().includes('you went offline'));
    const ways = () =>
      [...document.querySelectorAll('button')].filter((one) => one.textContent === 'Go online');
    expect(ways()).toHaveLength(1);
    await router.push('/');
    await until(() => heading() === 'Devices' && ways().length === 1);
    button('Go online').click();
    await connected(tab);
  });

  test('tells screen readers why the server closed the tab', async () => {
    const tab = await signedInTab();
    await openApp(tab, '/');
    await connected(tab);
    server.closeAll(1000, 'too_many');
    const said = () => document.querySelector('[role=status]')?.textContent ?? '';
    await until(() => said().includes('too many connections'));
    expect(said()).not.toContain('Trying again');
  });

  test('a session that is revoked leads to the sign-in, which says why', async () => {
    const tab = await signedInTab();
    const { router } = await openApp(tab, '/connection');
    await connected(tab);
    server.cookie = null;
    server.closeAll(4502, 'revoked');
    await until(() => heading() === 'Sign in');
    expect(document.body.textContent).toContain('This device was signed out from elsewhere');
    expect(router.currentRoute.value.query.to).toBe('/connection');
  });

  test('moves the focus to the heading of the new screen', async () => {
    const tab = await signedInTab();
    const { router } = await openApp(tab, '/');
    await router.push('/connection');
    await until(() => document.activeElement?.textContent === 'Connection');
    expect(document.title).toBe('Connection · Switchboard');
  });

  test('offers to try again when the server is away at the start', async () => {
    await signedInTab();
    server.down = true;
    const tab = await openTab();
    const opening = openApp(tab, '/');
    await until(() => alertText());
    expect(alertText()).toContain('cannot be reached');
    server.down = false;
    button('Try again').click();
    await opening;
    await until(() => heading() === 'Devices');
  });

  test('starts by itself once the server is back', async () => {
    await signedInTab();
    server.down = true;
    const tab = await openTab();
    const opening = openApp(tab, '/');
    await until(() => alertText());
    server.down = false;
    await opening;
    await until(() => heading() === 'Devices');
    expect(alertText()).toBe('');
  });

  test('signing out from the account menu ends at the sign-in', async () => {
    const tab = await signedInTab();
    await openApp(tab, '/');
    button('Account: ada').click();
    button('Sign out').click();
    await until(() => heading() === 'Sign in');
    expect(server.sockets.size).toBe(0);
    expect(document.querySelector('.sign-in__farewell')).toBeNull();
  });
});

describe('the devices', () => {
  const rows = () => [...document.querySelectorAll('[data-testid=device]')];

  /** @param {number} count */
  async function openDevices(count) {
    const tab = await signedInTab();
    server.addDevice(1, { device_name: 'Kitchen TV', device_type: 'android_tv' });
    await openApp(tab, '/');
    await until(() => rows().length === count && tab.devices().isLive);
    return tab;
  }

  test('show who is online, live', async () => {
    await openDevices(2);
    const online = () => rows().map((row) => row.getAttribute('data-online'));
    expect(online()).toEqual(['true', 'false']);
    server.connectElsewhere(2, 2);
    await until(() => online()[1] === 'true');
    expect(rows()[1]?.textContent).toContain('2 connections open');
  });

  test('are renamed in place', async () => {
    await openDevices(2);
    button('Rename Kitchen TV').click();
    await flushPromises();
    await fill('New name of Kitchen TV', 'Attic TV');
    document.querySelector('li form')?.dispatchEvent(new Event('submit', { cancelable: true }));
    await until(() => rows()[1]?.textContent?.includes('Attic TV'));
    expect(document.activeElement).toBe(button('Rename Attic TV'));
  });

  test('are signed out after a question, and not without', async () => {
    await openDevices(2);
    button('Sign out Kitchen TV').click();
    await until(() => document.querySelector('dialog[open]'));
    expect(document.querySelector('dialog[open]')?.textContent).toContain('Sign out Kitchen TV?');
    expect(server.asked).not.toContain('DELETE /v1/devices/2');
    const inside = [...(document.querySelector('dialog[open]')?.querySelectorAll('button') ?? [])];
    inside.find((one) => one.textContent?.trim() === 'Sign out')?.click();
    await until(() => rows().length === 1);
    expect(server.asked).toContain('DELETE /v1/devices/2');
  });
});
