// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { watch } from 'vue';
import { FakeServer } from './server.js';
import { connected, openTab, signedInTab, until } from './tab.js';

/** @type {FakeServer} */
let server;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new FakeServer().install();
});

afterEach(() => {
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

describe('signing in', () => {
  test('connects as the device of this browser', async () => {
    const tab = await signedInTab();
    expect(tab.auth.user).toMatchObject({ id: 1, handle: 'ada' });
    expect(tab.auth.isAdmin).toBe(false);
    expect(tab.websocket.wsConnected.value).toBe(true);
    expect(tab.websocket.wsDeviceId.value).toBe(1);
    expect(tab.websocket.wsServerVersion.value).toBe('9.9');
  });

  test('keeps nothing secret in the browser', async () => {
    await signedInTab();
    const kept = JSON.stringify([{ ...localStorage }, { ...sessionStorage }]);
    expect(kept).not.toContain('secret');
    expect(kept).not.toContain('correct horse');
  });

  test('sends the same device_uuid each time', async () => {
    await signedInTab();
    const first = server.bodies['POST /v1/auth/login'].device_uuid;
    await signedInTab();
    expect(first).toMatch(/^[A-Za-z0-9-]{8,64}$/);
    expect(server.bodies['POST /v1/auth/login'].device_uuid).toBe(first);
    expect(server.devices).toHaveLength(1);
  });

  test('with a wrong password rejects with the code of the server, and connects nothing', async () => {
    const tab = await openTab();
    await expect(tab.auth.signIn('ada', 'wrong')).rejects.toMatchObject({
      status: 401,
      code: 'invalid_credentials',
    });
    expect(tab.auth.signedIn).toBe(false);
    expect(server.sockets.size).toBe(0);
  });
});

describe('starting', () => {
  test('connects when the cookie still holds', async () => {
    await signedInTab();
    const tab = await openTab();
    await tab.auth.start();
    await connected(tab);
    expect(tab.auth.user?.handle).toBe('ada');
  });

  test('without a session it is known that nobody is signed in', async () => {
    const tab = await openTab();
    await tab.auth.start();
    await tab.auth.known();
    expect(tab.auth.signedIn).toBe(false);
    expect(tab.auth.farewell).toBe('');
  });

  test('says so when the server cannot be reached, and may be tried again', async () => {
    await signedInTab();
    const tab = await openTab();
    server.down = true;
    await tab.auth.start();
    expect(tab.auth.problem).toContain('cannot be reached');
    server.down = false;
    await tab.auth.start();
    expect(tab.auth.problem).toBe('');
    expect(tab.auth.signedIn).toBe(true);
  });
});

describe('signing out', () => {
  test('tells the server, closes the connection and keeps it closed', async () => {
    const tab = await signedInTab();
    await tab.auth.signOut();
    expect(server.asked).toContain('POST /v1/auth/logout');
    expect(server.socketsAtLogout).toBe(0);
    expect(server.sockets.size).toBe(0);
    expect(tab.auth.signedIn).toBe(false);
    expect(tab.auth.farewell).toBe('');
    expect(tab.websocket.wsConnectionStatus.value).toBe('disconnected');
    expect(tab.websocket.wsStatusDetail.value.retryAt).toBeUndefined();
  });

  test('does not pretend when the server cannot be told', async () => {
    const tab = await signedInTab();
    server.refuseOnce('POST /v1/auth/logout', 503, 'draining');
    await expect(tab.auth.signOut()).rejects.toMatchObject({ code: 'draining' });
    expect(tab.auth.signedIn).toBe(true);
    await connected(tab);
  });

  test('of a session that is over already succeeds, and explains nothing', async () => {
    const tab = await signedInTab();
    /** @type {string[]} */
    const said = [];
    watch(
      () => tab.auth.farewell,
      (words) => said.push(words),
      { flush: 'sync' },
    );
    server.cookie = null;
    await tab.auth.signOut();
    expect(tab.auth.signedIn).toBe(false);
    expect(said).toEqual([]);
  });

  test('in one tab signs out the others and says why', async () => {
    const one = await signedInTab();
    const two = await openTab();
    await two.auth.start();
    await connected(two);
    await one.auth.signOut();
    await until(() => !two.auth.signedIn);
    expect(two.auth.farewell).toBe('You signed out in another tab.');
  });

  test('reaches a tab that is offline', async () => {
    const one = await signedInTab();
    const two = await openTab();
    await two.auth.start();
    await connected(two);
    two.websocket.goOffline();
    await one.auth.signOut();
    await until(() => !two.auth.signedIn);
  });
});

describe('a session that ends elsewhere', () => {
  test.each([
    ['revoked', 4502, 'signed out from elsewhere'],
    ['session_expired', 4501, 'has expired'],
    ['signed_out', 1000, 'in another tab'],
  ])('%s ends in the app, with the reason', async (reason, code, words) => {
    const tab = await signedInTab();
    server.cookie = null;
    server.closeAll(code, reason);
    await until(() => !tab.auth.signedIn);
    expect(tab.auth.farewell).toContain(words);
    expect(tab.websocket.wsConnected.value).toBe(false);
  });

  test('is noticed by a request that is answered 401', async () => {
    const tab = await signedInTab();
    server.refuseOnce('GET /v1/devices', 401, 'unauthorized');
    await expect(tab.api.get('/v1/devices')).rejects.toMatchObject({ status: 401 });
    expect(tab.auth.signedIn).toBe(false);
    expect(server.sockets.size).toBe(0);
  });

  test('another tab that signs in as somebody else takes this one along', async () => {
    const one = await signedInTab();
    const two = await openTab();
    await two.auth.signIn('root', 'battery staple');
    await until(() => one.auth.user?.handle === 'root');
    await connected(one);
    expect(one.auth.isAdmin).toBe(true);
    expect(one.websocket.wsDeviceId.value).toBe(2);
  });
});
