/** The one connection of this tab, as reactive state over the client library. */
import { computed, ref, shallowRef } from 'vue';
import { createClient } from '../../client/index.js';

/** @typedef {'disconnected' | 'connecting' | 'catching-up' | 'connected' | 'signed-out'} Status */
/** @typedef {(type: string, payload: any, message: any) => unknown} Handler */
/** @typedef {(...said: any[]) => void} Listener */
/** @typedef {{ outcome: 'resumed' | 'live' | 'reset', epoch: string, offset: number, head: number }} Resume */
/** @typedef {{ at: number, ms: number }} Latency at: milliseconds since 1970 */

/** How many round trips and outcomes to keep. */
export const KEPT_LATENCIES = 40;
const KEPT_RESUMES = 20;

/** @type {import('vue').Ref<Status>} */
export const wsConnectionStatus = ref('disconnected');
/** Whether messages come and go now, catching up included. */
export const wsConnected = computed(() =>
  ['connected', 'catching-up'].includes(wsConnectionStatus.value),
);
/** @type {import('vue').Ref<number | null>} */
export const wsDeviceId = ref(null);
/** @type {import('vue').Ref<string | null>} */
export const wsServerVersion = ref(null);
/** @type {import('vue').Ref<number | null>} what the server takes, null before it was told */
export const wsMaxMessageBytes = ref(null);
/** @type {import('vue').Ref<string | null>} */
export const wsConnectionId = ref(null);
/** @type {import('vue').Ref<string | null>} */
export const wsInstance = ref(null);
/** @type {import('vue').ShallowRef<import('../words/status.js').StatusDetail>} */
export const wsStatusDetail = shallowRef({});
/** @type {import('vue').ShallowRef<{ epoch: string, offset: number } | null>} */
export const wsPosition = shallowRef(null);
export const wsLag = ref(0);
export const wsReconnects = ref(0);
export const wsOutboxSize = ref(0);
/** @type {import('vue').ShallowRef<Latency[]>} oldest first */
export const wsLatencies = shallowRef([]);
/** @type {import('vue').ShallowRef<(Resume & { at: number })[]>} newest first */
export const wsResumes = shallowRef([]);
/** Whether this tab has gone offline on purpose, to see what happens. */
export const wsOffline = ref(false);

const client = createClient();

/** Copies the state of the client. */
function refresh() {
  wsConnectionStatus.value = client.status;
  wsStatusDetail.value = { ...client.statusDetail };
  wsDeviceId.value = client.deviceId;
  wsServerVersion.value = client.serverVersion;
  wsMaxMessageBytes.value = client.maxMessageBytes;
  wsConnectionId.value = client.connectionId;
  wsInstance.value = client.instance ?? null;
  wsPosition.value = client.position;
  wsLag.value = client.lag;
  wsOutboxSize.value = client.outboxSize;
}

/** @param {number} ms */
function keepLatency(ms) {
  wsLatencies.value = [...wsLatencies.value, { at: Date.now(), ms }].slice(-KEPT_LATENCIES);
}

/** @param {Resume} resume */
function keepResume(resume) {
  if (beganBefore) wsReconnects.value += 1;
  beganBefore = true;
  wsResumes.value = [{ ...resume, at: Date.now() }, ...wsResumes.value].slice(0, KEPT_RESUMES);
}

/** Whether this session had a connection in this tab before. */
let beganBefore = false;

for (const name of ['status', 'position', 'message', 'outbox']) client.on(name, refresh);
client.on('latency', keepLatency);
client.on('resume', keepResume);

/** Connects, and comes back after each loss until `disconnect`; makes a planned attempt now. */
export function connect() {
  wsOffline.value = false;
  client.connect();
}

/** Closes the connection, which does not come back by itself. */
export function disconnect() {
  client.disconnect();
}

/** Ends the connection, and forgets all that was kept for the session. */
export function forget() {
  client.disconnect({ forget: true });
  beganBefore = false;
  wsReconnects.value = 0;
  wsLatencies.value = [];
  wsResumes.value = [];
  wsOffline.value = false;
}

/** Simulates a lost network: no connection until `goOnline`. */
export function goOffline() {
  wsOffline.value = true;
  disconnect();
}

export function goOnline() {
  connect();
}

/**
 * Calls the handler for each message whose type has this prefix, in order.
 * @param {string} prefix
 * @param {Handler} handler
 * @returns {() => void} unregisters it
 */
export function registerHandler(prefix, handler) {
  return client.registerHandler(prefix, handler);
}

/** @param {string} prefix */
export function unregisterHandler(prefix) {
  client.unregisterHandler(prefix);
}

/**
 * Listens to events of the client library: 'status', 'reset', 'resume', 'message', 'error' …
 * @param {string} name
 * @param {Listener} listener
 * @returns {() => void} stops listening
 */
export function on(name, listener) {
  return client.on(name, listener);
}

/**
 * Sends a message; see the client library for the options.
 * @param {string} type
 * @param {unknown} [payload]
 * @param {Record<string, any>} [options]
 * @returns {any} whether it was handed to the socket; with `durable`, a promise of the answer
 */
export function send(type, payload, options) {
  return client.send(type, payload, options);
}

/**
 * Sends a message and waits for its answer.
 * @param {string} type
 * @param {unknown} [payload]
 * @param {Record<string, any>} [options]
 * @returns {Promise<{ type: string, payload: any }>}
 */
export async function request(type, payload, options) {
  return await client.request(type, payload, options);
}

/** @returns {Promise<number>} the round trip in milliseconds */
export async function ping() {
  return await client.ping();
}
