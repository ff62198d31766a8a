import { defineStore } from 'pinia';
import { computed, ref, shallowRef, watch } from 'vue';
import { api } from '../services/api.js';
import { registerHandler, request, wsConnected } from '../services/websocket.js';
import { deviceTitle } from '../words/devices.js';
import { sentence } from '../words/errors.js';
import { useAuth } from './auth.js';

/**
 * @typedef {object} DeviceRow as the server lists it
 * @property {number} id
 * @property {string} device_type
 * @property {string} [device_name]
 * @property {string} [os_info]
 * @property {number} created_at milliseconds since 1970
 * @property {number} last_seen milliseconds since 1970
 * @property {boolean} online
 * @property {unknown[]} connections
 * @property {boolean} this_device
 */
/** @typedef {DeviceRow & { tabs: number, title: string, known: boolean }} Device known: whether `online` is */

/** Milliseconds until the store asks for presence again after a refusal. */
const WATCH_AGAIN = 5000;

/** The devices of the user, with who is online kept live over the connection. */
export const useDevices = defineStore('devices', () => {
  const auth = useAuth();
  /** @type {import('vue').ShallowRef<DeviceRow[] | null>} null until they are there */
  const rows = shallowRef(null);
  /** @type {import('vue').ShallowRef<Map<number, number> | null>} device → connections, while watched */
  const live = shallowRef(null);
  /** @type {import('vue').ShallowRef<Map<number, number>>} device → when it was seen to go */
  const seen = shallowRef(new Map());
  const problem = ref('');
  /** Whether the connection was lost after the last news of who is online. */
  const stale = ref(false);
  let latest = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let watchAgain;

  const devices = computed(() => rows.value?.map(asSeen) ?? null);
  /** Whether the shown online states are live. */
  const isLive = computed(() => wsConnected.value && live.value !== null);

  /**
   * @param {DeviceRow} row
   * @returns {Device}
   */
  function asSeen(row) {
    const tabs = stale.value ? 0 : tabsOf(row);
    const last = Math.max(row.last_seen, seen.value.get(row.id) ?? 0);
    return {
      ...row,
      tabs,
      online: tabs > 0,
      known: !stale.value,
      last_seen: last,
      title: deviceTitle(row, rows.value ?? []),
    };
  }

  /** @param {DeviceRow} row */
  function tabsOf(row) {
    return live.value ? (live.value.get(row.id) ?? 0) : row.connections.length;
  }

  /** Who was online at the loss may be gone since: nobody is shown as online. */
  function lose() {
    for (const device of devices.value ?? []) if (device.online) sawGo(device.id);
    live.value = null;
    stale.value = true;
  }

  /** Fetches the list, or sets `problem` to the reason why it could not. */
  async function load() {
    const mine = ++latest;
    try {
      const answer = await api.get('/v1/devices');
      if (mine !== latest) return;
      rows.value = answer.devices.toSorted(byNearness);
      stale.value = false;
      problem.value = '';
    } catch (error) {
      if (mine === latest && auth.signedIn) problem.value = sentence(error);
    }
  }

  async function watchPresence() {
    clearTimeout(watchAgain);
    try {
      const { payload } = await request('presence.watch', null);
      live.value = connectionsOf(payload);
      stale.value = false;
    } catch {
      // The list itself says who was online when it was fetched.
      live.value = null;
      watchAgain = setTimeout(() => {
        if (wsConnected.value) void watchPresence();
      }, WATCH_AGAIN);
    }
  }

  /**
   * After a slow moment the server tells all that are online instead of each change.
   * @param {{ devices: Presence[] }} payload
   */
  function presenceRetold(payload) {
    const next = connectionsOf(payload);
    const gone = [...(live.value ?? new Map()).keys()].filter((id) => !next.has(id));
    for (const id of gone) sawGo(id);
    live.value = next;
  }

  /** @param {Presence} change says nothing of the others: without them it is of no use */
  function presenceChanged({ device_id: id, connections }) {
    if (!live.value) return;
    const next = new Map(live.value);
    if (connections > 0) next.set(id, connections);
    else next.delete(id);
    live.value = next;
    if (connections === 0) sawGo(id);
  }

  /** @param {number} id */
  function sawGo(id) {
    seen.value = new Map(seen.value).set(id, Date.now());
  }

  registerHandler('presence', (type, payload) => {
    if (type === 'presence.devices') presenceRetold(payload);
    if (type === 'presence.changed') presenceChanged(payload);
    if (type === 'presence.list_changed') void load();
  });

  // The server forgets the watch with the connection, and the list may have changed meanwhile.
  watch(
    wsConnected,
    (connected, before) => {
      if (connected) void Promise.all([watchPresence(), load()]);
      else if (before) lose();
    },
    { immediate: true },
  );

  watch(() => auth.user?.id, reset);

  function reset() {
    latest += 1;
    rows.value = live.value = null;
    seen.value = new Map();
    problem.value = '';
    stale.value = false;
  }

  /**
   * @param {number} id
   * @param {string} name blank: without a name
   */
  async function rename(id, name) {
    const renamed = await api.patch(`/v1/devices/${id}`, { device_name: name.trim() || null });
    rows.value = rows.value?.map((row) => (row.id === id ? renamed : row)) ?? null;
  }

  /**
   * The device is signed out, and gone from the list.
   * @param {number} id
   */
  async function revoke(id) {
    await api.delete(`/v1/devices/${id}`);
    rows.value = rows.value?.filter((row) => row.id !== id) ?? null;
  }

  /** Every device but this one is signed out. */
  async function revokeOthers() {
    await api.post('/v1/devices/revoke-others');
    await load();
  }

  /**
   * @param {number} id
   * @returns {string}
   */
  function nameOf(id) {
    return devices.value?.find((device) => device.id === id)?.title ?? `Device ${id}`;
  }

  return { devices, isLive, problem, load, rename, revoke, revokeOthers, nameOf };
});

/**
 * This device first, then those online, then by when they were last seen. It holds until the next
 * load: rows that move while one reads are hit by mistake.
 * @param {DeviceRow} one
 * @param {DeviceRow} other
 */
function byNearness(one, other) {
  return (
    Number(other.this_device) - Number(one.this_device) ||
    Number(other.online) - Number(one.online) ||
    other.last_seen - one.last_seen
  );
}

/**
 * @param {{ devices: Presence[] }} payload
 * @returns {Map<number, number>} device → connections
 */
function connectionsOf({ devices }) {
  return new Map(devices.map((one) => [one.device_id, one.connections]));
}

/** @typedef {{ device_id: number, connections: number }} Presence */
