/** What arrived in this tab and what was sent from it, for the Playground; a reload loses nothing. */

import { defineStore } from 'pinia';
import { computed, ref, shallowRef, watch } from 'vue';
import { emptyDraft } from '../components/playground/draft.js';
import { faultText } from '../components/playground/words.js';
import { useSaving } from '../composables/saving.js';
import { recall, remember } from '../services/tabMemory.js';
import {
  on,
  request,
  send as sendMessage,
  wsConnected,
  wsOutboxSize,
} from '../services/websocket.js';
import { useAuth } from './auth.js';

/**
 * @typedef {object} Arrival a message that came in
 * @property {number} number unique here
 * @property {number} at when the server took it, or when it came if it is not kept, in milliseconds
 *   since 1970
 * @property {number} cameAt when it came here
 * @property {string} type
 * @property {unknown} payload
 * @property {string} json the payload as one line of JSON
 * @property {{device_id: number, instance: string}} [from]
 * @property {number} [offset]
 * @property {number} [time] of a kept message, as the server told it
 * @property {string} [key] of a latest value
 * @property {boolean} deleted whether the value is gone
 * @property {boolean} snapshot
 * @property {boolean} replayed whether it is no news, since it came after a reset
 *
 * @typedef {import('../components/playground/draft.js').Parcel} Parcel
 *
 * @typedef {object} SendRecord a message that was sent, and what became of it
 * @property {number} key unique here
 * @property {number} at when it was sent, in milliseconds since 1970
 * @property {Parcel} parcel
 * @property {import('../components/playground/draft.js').Store} store
 * @property {string} [messageId] of a kept message
 * @property {'sending' | 'waiting' | 'delivered' | 'refused'} status
 * @property {boolean} waited whether it was in the outbox, while offline or for the server
 * @property {number[]} [delivered] ids of the devices that took it
 * @property {number} [offset]
 * @property {boolean} [duplicate]
 * @property {number} [tookMs]
 * @property {boolean} [restored] whether it was sent before a reload
 * @property {string} [fault] why it was refused, or has to wait, in words
 */

/** How many arrivals to keep: as many as a person can look through. */
export const FEED_LIMIT = 500;
const SENDS_LIMIT = 20;

/** Types of the server itself, of which the Connection screen shows all. */
const SERVERS_OWN = ['connected', 'position', 'ping', 'pong', 'ok', 'goaway', 'presence'];

export const useMessages = defineStore('messages', () => {
  const auth = useAuth();
  const draft = ref(emptyDraft());
  const feed = useFeed();
  const outgoing = useSends();

  on('message', feed.receive);
  // Another user must find nothing of this one.
  watch(() => auth.user?.id, begin);
  const changed = useSaving(save);
  watch(feed.all, changed);
  watch(outgoing.records, changed, { deep: true });

  /** Whose messages these are, if anybody is signed in. */
  const owner = () => auth.user && `${auth.user.id}/${auth.user.deviceId}`;

  function begin() {
    forget();
    const whose = owner();
    if (!whose) return;
    feed.restore(recall(whose, 'arrivals'));
    outgoing.restore(recall(whose, 'sends'));
  }

  function save() {
    const whose = owner();
    if (whose) remember(whose, { arrivals: feed.kept(), sends: outgoing.records.value });
  }

  function forget() {
    draft.value = emptyDraft();
    feed.clear();
    feed.resume();
    outgoing.clear();
  }

  const { arrivals, heldCount, paused, receive, pause, resume, clear } = feed;
  return {
    ...{ arrivals, heldCount, paused, receive, pause, resume, clear },
    ...{ draft, sends: outgoing.records, send: outgoing.send },
  };
});

function useFeed() {
  const arrivals = shallowRef(/** @type {Arrival[]} */ ([]));
  const held = shallowRef(/** @type {Arrival[]} */ ([]));
  const heldCount = ref(0);
  const paused = ref(false);
  let last = 0;

  /**
   * Keeps a message that arrived; while paused, aside.
   *
   * @param {import('../../client/requests.js').Message} message
   */
  function receive(message) {
    if (message.reply_to !== undefined || SERVERS_OWN.includes(message.type.split('.')[0])) return;
    last += 1;
    const target = paused.value ? held : arrivals;
    target.value = [arrivalOf(message, last), ...target.value].slice(0, FEED_LIMIT);
    if (paused.value) heldCount.value += 1;
  }

  function pause() {
    paused.value = true;
  }

  /** The feed goes on with what arrived meanwhile. */
  function resume() {
    arrivals.value = [...held.value, ...arrivals.value].slice(0, FEED_LIMIT);
    held.value = [];
    heldCount.value = 0;
    paused.value = false;
  }

  function clear() {
    arrivals.value = [];
    held.value = [];
    heldCount.value = 0;
  }

  /** @param {Omit<Arrival, 'json'>[]} before what was here before a reload, newest first */
  function restore(before) {
    last = before.length;
    arrivals.value = before.map((arrival, at) => ({
      ...arrival,
      number: last - at,
      json: JSON.stringify(arrival.payload ?? null),
    }));
  }

  /** What outlives a reload: all but what can be made again. */
  const kept = () => all.value.map(({ json: _, ...arrival }) => arrival);

  /** Everything that is here, shown or not. */
  const all = computed(() => [...held.value, ...arrivals.value].slice(0, FEED_LIMIT));

  return { all, kept, arrivals, heldCount, paused, receive, pause, resume, clear, restore };
}

/**
 * @param {import('../../client/requests.js').Message} message
 * @param {number} number
 * @returns {Arrival}
 */
function arrivalOf(message, number) {
  const cameAt = Date.now();
  return {
    number,
    at: message.time ?? cameAt,
    cameAt,
    type: message.type,
    payload: message.payload,
    json: JSON.stringify(message.payload ?? null),
    from: message.from,
    offset: message.offset,
    time: message.time,
    key: message.key,
    deleted: message.deleted === true,
    snapshot: message.snapshot === true,
    replayed: message.replayed === true,
  };
}

function useSends() {
  const records = ref(/** @type {SendRecord[]} */ ([]));
  const waiting = computed(() => records.value.filter(isOpen));
  /** Why nothing that is kept goes out on this connection, in words. */
  const hold = ref(/** @type {string | undefined} */ (undefined));
  let lastKey = 0;

  watch([wsConnected, hold], settleAll);
  watch(wsConnected, release);
  on('outbox', settleRestored);
  on('error', ({ code, message }) => {
    if (code === 'too_many_ids') hold.value = faultText(code, message);
  });

  function settleAll() {
    for (const record of waiting.value) settleWaiting(record, wsConnected.value, hold.value);
  }

  function release() {
    hold.value = undefined;
  }

  /**
   * Sends a parcel; resolves, and never rejects, when it is known what became of it.
   *
   * @param {Parcel} parcel
   * @param {string} [messageId] that of an earlier send, to see that it counts once
   * @returns {Promise<SendRecord>}
   */
  async function send(parcel, messageId) {
    const began = performance.now();
    const record = add(parcel, messageId);
    try {
      const answer = parcel.store === 'none' ? await ask(parcel) : await keep(record);
      Object.assign(record, answered(answer));
      if (record.messageId) release();
    } catch (error) {
      refuse(record, /** @type {Error & {code?: string}} */ (error));
    }
    record.tookMs = performance.now() - began;
    return record;
  }

  /** @param {Parcel} parcel @param {string} [messageId] @returns {SendRecord} */
  function add(parcel, messageId) {
    lastKey += 1;
    const kept = parcel.store !== 'none';
    records.value.unshift({
      key: lastKey,
      at: Date.now(),
      parcel,
      store: parcel.store,
      messageId: kept ? (messageId ?? newMessageId()) : undefined,
      status: 'sending',
      waited: false,
    });
    drop();
    const record = records.value[0];
    settleWaiting(record, wsConnected.value, hold.value);
    return record;
  }

  /** The list stays short, and what has no answer yet stays on it. */
  function drop() {
    records.value = records.value.filter((record, at) => at < SENDS_LIMIT || isOpen(record));
  }

  function clear() {
    records.value = [];
  }

  /** @param {SendRecord[]} kept from before a reload, newest first */
  function restore(kept) {
    lastKey = kept.length;
    records.value = kept.map((record, at) => ({ ...record, key: lastKey - at, restored: true }));
    for (const record of waiting.value) if (!record.messageId) giveUp(record);
    if (wsOutboxSize.value === 0) waiting.value.forEach(giveUp);
    settleAll();
  }

  /**
   * Nobody waits any more for what was sent before a reload, but the outbox tells what became of it.
   *
   * @param {{ size: number, messageId?: string, error?: Error & { code?: string }, answer?: any }} told
   */
  function settleRestored({ size, messageId, error, answer }) {
    const left = waiting.value.filter(({ restored }) => restored);
    for (const record of left.filter((one) => one.messageId === messageId)) {
      if (error) refuse(record, error);
      else Object.assign(record, answered(answer), { tookMs: Date.now() - record.at });
    }
    if (size === 0) left.filter(isOpen).forEach(giveUp);
  }

  return { records, send, clear, restore };
}

/** @param {SendRecord} record @param {Error & { code?: string }} fault */
function refuse(record, { code = 'internal_error', message }) {
  record.status = 'refused';
  record.fault = faultText(code, message);
}

/** The answer came to a page that is gone, if it came. @param {SendRecord} record */
function giveUp(record) {
  refuse(record, { name: 'Error', code: 'disconnected', message: '' });
}

/** @param {SendRecord} record */
function isOpen(record) {
  return record.status === 'sending' || record.status === 'waiting';
}

/** @param {SendRecord} record @param {boolean} connected @param {string} [hold] */
function settleWaiting(record, connected, hold) {
  if (record.store === 'none') return;
  record.status = connected && !hold ? 'sending' : 'waiting';
  record.fault = connected ? hold : undefined;
  if (record.status === 'waiting') record.waited = true;
}

/** @param {Parcel} parcel */
async function ask({ type, payload, to }) {
  const reply = await request(type, payload, { to });
  return reply.payload;
}

/** @param {SendRecord} record */
function keep({ parcel, messageId }) {
  const { type, payload, ...target } = parcel;
  return sendMessage(type, payload, { ...target, messageId, durable: true });
}

/**
 * @param {any} ok the payload of the answer
 * @returns {Partial<SendRecord>}
 */
function answered({ delivered, offset, duplicate }) {
  return { status: 'delivered', delivered, offset, duplicate };
}

/** Random, and made without `randomUUID`, which plain http does not have. */
function newMessageId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
