// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FakeServer } from './server.js';
import { connected, signedInTab, until } from './tab.js';

/** @type {FakeServer} */
let server;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  server = new FakeServer().install();
});

afterEach(() => {
  vi.useRealTimers();
  server.down = true;
  server.closeAll(1000, 'replaced');
  vi.unstubAllGlobals();
});

/** A tab of ada's first device, whose store has the list; her television is device 2. */
async function devicesTab() {
  const tab = await signedInTab();
  server.addDevice(1, { device_name: 'Kitchen TV', device_type: 'android_tv' });
  const devices = tab.devices();
  await until(() => devices.isLive && devices.devices?.length === 2);
  return { ...tab, devices };
}

/**
 * @param {Awaited<ReturnType<typeof devicesTab>>['devices']} devices
 * @param {number} id
 */
const one = (devices, id) => devices.devices?.find((device) => device.id === id);

test('this device is online as soon as it is there, with its tabs', async () => {
  const { devices } = await devicesTab();
  expect(one(devices, 1)).toMatchObject({ online: true, tabs: 1, this_device: true });
  expect(one(devices, 2)).toMatchObject({ online: false, tabs: 0, title: 'Kitchen TV' });
});

test('another device comes online and goes without a reload', async () => {
  const { devices } = await devicesTab();
  const before = Date.now();
  server.connectElsewhere(2, 3);
  await until(() => one(devices, 2)?.online);
  expect(one(devices, 2)?.tabs).toBe(3);
  server.connectElsewhere(2, 0);
  await until(() => !one(devices, 2)?.online);
  expect(one(devices, 2)?.last_seen).toBeGreaterThanOrEqual(before);
  expect(server.asked.filter((asked) => asked === 'GET /v1/devices')).toHaveLength(1);
});

test('a list of all who are online takes the place of what was known', async () => {
  const { devices } = await devicesTab();
  server.addDevice(1);
  server.connectElsewhere(2, 1);
  await until(() => one(devices, 2)?.online);
  const before = Date.now();
  const payload = { devices: [{ device_id: 1, connections: 4 }] };
  server.tellWatchers({ type: 'presence.devices', payload });
  await until(() => one(devices, 1)?.tabs === 4);
  expect(one(devices, 2)).toMatchObject({ online: false, tabs: 0 });
  expect(one(devices, 2)?.last_seen).toBeGreaterThanOrEqual(before);
});

test('a change that is told while the others are not known hides nobody', async () => {
  server.watchRefusals = Infinity;
  const tab = await signedInTab();
  server.addDevice(1);
  server.addDevice(1);
  server.connectElsewhere(2, 1);
  const devices = tab.devices();
  await until(() => one(devices, 2)?.online);
  server.connectElsewhere(3, 1);
  server.tellWatchers({ type: 'presence.list_changed', payload: null });
  await until(() => one(devices, 3)?.online);
  expect(devices.devices?.map(({ online }) => online)).toEqual([true, true, true]);
  expect(devices.isLive).toBe(false);
});

test('presence that could not be watched is watched a little later', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server.watchRefusals = 2;
  const tab = await signedInTab();
  const devices = tab.devices();
  await until(() => devices.devices);
  expect(devices.isLive).toBe(false);
  await vi.advanceTimersByTimeAsync(5000);
  expect(devices.isLive).toBe(false);
  await vi.advanceTimersByTimeAsync(5000);
  expect(devices.isLive).toBe(true);
});

test('after a reconnect presence is watched again and the list is fetched', async () => {
  const { devices, websocket, ...tab } = await devicesTab();
  websocket.goOffline();
  await until(() => !devices.isLive);
  server.connectElsewhere(2, 1);
  server.addDevice(1, { device_name: 'New phone' });
  websocket.goOnline();
  await connected({ ...tab, websocket, devices: () => devices });
  await until(() => one(devices, 2)?.online && devices.devices?.length === 3);
  server.connectElsewhere(3, 1);
  await until(() => one(devices, 3)?.online);
});

test('while the connection is lost nobody is shown as online, and as seen until then', async () => {
  const { devices, websocket } = await devicesTab();
  server.connectElsewhere(2, 1);
  await until(() => one(devices, 2)?.online);
  const before = Date.now();
  websocket.goOffline();
  await until(() => !devices.isLive);
  for (const id of [1, 2]) {
    expect(one(devices, id)).toMatchObject({ online: false, tabs: 0, known: false });
    expect(one(devices, id)?.last_seen).toBeGreaterThanOrEqual(before);
  }
  await devices.load();
  expect(one(devices, 2)).toMatchObject({ online: true, tabs: 1, known: true });
});

test('a list that changed elsewhere is fetched', async () => {
  const { devices } = await devicesTab();
  server.addDevice(1, { device_name: 'Tablet' });
  server.tellWatchers({ type: 'presence.list_changed', payload: null });
  await until(() => devices.nameOf(3) === 'Tablet');
});

test('renaming shows the new name, and a blank one means none', async () => {
  const { devices } = await devicesTab();
  await devices.rename(2, ' Bedroom TV ');
  expect(devices.nameOf(2)).toBe('Bedroom TV');
  await devices.rename(2, '  ');
  expect(server.bodies['PATCH /v1/devices/2']).toEqual({ device_name: null });
  expect(devices.nameOf(2)).toBe('Android TV 2');
});

test('a revoked device is gone from the list', async () => {
  const { devices } = await devicesTab();
  await devices.revoke(2);
  expect(devices.devices?.map((device) => device.id)).toEqual([1]);
});

test('signing out all others leaves this device', async () => {
  const { devices } = await devicesTab();
  await devices.revokeOthers();
  expect(server.asked).toContain('POST /v1/devices/revoke-others');
  expect(devices.devices?.map((device) => device.this_device)).toEqual([true]);
});

test('a list that cannot be fetched is said in words, and kept as it was', async () => {
  const { devices } = await devicesTab();
  server.refuseOnce('GET /v1/devices', 500, 'internal_error');
  await devices.load();
  expect(devices.problem).toContain('went wrong on the server');
  expect(devices.devices).toHaveLength(2);
  await devices.load();
  expect(devices.problem).toBe('');
});

test('nothing of the last user is left after signing out', async () => {
  const { devices, auth } = await devicesTab();
  await auth.signOut();
  await until(() => devices.devices === null);
});
