import { createPinia, setActivePinia } from 'pinia';
import { vi } from 'vitest';

// Modules are loaded anew for each tab, which takes its time on a busy machine.
vi.setConfig({ testTimeout: 20_000 });

/**
 * Waits until this holds.
 * @param {() => unknown} condition
 */
export async function until(condition) {
  await vi.waitUntil(condition, { timeout: 10_000, interval: 5 });
}

/**
 * A tab of the browser before the fake server: the app's modules, loaded anew, and its stores.
 */
export async function openTab() {
  vi.resetModules();
  const pinia = createPinia();
  setActivePinia(pinia);
  const { useAuth } = await import('../../src/store/auth.js');
  const { useDevices } = await import('../../src/store/devices.js');
  const websocket = await import('../../src/services/websocket.js');
  const { api, ApiError } = await import('../../src/services/api.js');
  const auth = useAuth(pinia);
  return { pinia, auth, websocket, api, ApiError, devices: () => useDevices(pinia) };
}

/** A tab that is signed in as ada and connected. */
export async function signedInTab() {
  const tab = await openTab();
  await tab.auth.signIn('ada', 'correct horse');
  await connected(tab);
  return tab;
}

/** @param {Awaited<ReturnType<typeof openTab>>} tab */
export async function connected(tab) {
  await until(() => tab.websocket.wsConnectionStatus.value === 'connected');
}
