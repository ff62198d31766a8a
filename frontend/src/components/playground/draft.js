/** What a person writes before sending, checked by the rules of docs/protocol.md. */

import { readJson } from './jsonText.js';

/**
 * @typedef {'none' | 'log' | 'latest'} Store
 *
 * @typedef {Store | 'delete'} Way how a draft is kept; with `delete` it removes a latest value
 *
 * @typedef {object} Draft
 * @property {string} to a device id in digits, 'others' or 'user'
 * @property {Way} store
 * @property {string} key with `latest` and `delete` only
 * @property {string} ttl seconds in digits, or blank
 * @property {string} type
 * @property {string} payload JSON text; blank counts as null
 *
 * @typedef {{to?: string, key?: string, ttl?: string, type?: string, payload?: string}} Faults
 *
 * @typedef {object} Parcel what is sent
 * @property {number | 'others' | 'user'} to
 * @property {Store} store
 * @property {string} [key]
 * @property {number} [ttl] seconds
 * @property {true} [delete] the latest value of the key is gone
 * @property {string} type
 * @property {unknown} payload
 */

const MAX_TYPE_LENGTH = 128;
const MAX_KEY_LENGTH = 128;
const MAX_TTL_SECONDS = 366 * 86_400;
/** The limit of a server that has not told its own. */
const MAX_MESSAGE_BYTES = 65_536;
/** Bytes of a frame beside type and payload: ids, target, key. */
const ENVELOPE_BYTES = 1_024;

const TYPE = /^[a-z0-9_]+(?:\.[a-z0-9_]+)*$/;

const SERVERS_OWN = [
  'connected',
  'position',
  'ping',
  'pong',
  'ok',
  'ack',
  'error',
  'goaway',
  'device',
  'presence',
  'token',
];
const RESERVED = ['sync', 'playback', 'notification'];

/** @returns {Draft} */
export function emptyDraft() {
  return {
    to: 'others',
    store: 'none',
    key: '',
    ttl: '',
    type: 'note.text',
    payload: '{\n  "text": "hello"\n}',
  };
}

/**
 * Checks a draft: returns what is wrong with each field, or else the message to send.
 *
 * @param {Draft} draft
 * @param {number | null} [maxMessageBytes] what the server takes; null: not known yet
 * @returns {{faults: Faults, parcel?: Parcel}}
 */
export function judge(draft, maxMessageBytes) {
  const most = (maxMessageBytes ?? MAX_MESSAGE_BYTES) - ENVELOPE_BYTES;
  const { value, fault } = readJson(draft.store === 'delete' ? '' : draft.payload);
  /** @type {Faults} */
  const faults = {};
  note(faults, 'to', targetFault(draft.to));
  note(faults, 'type', typeFault(draft.type));
  note(faults, 'payload', fault ? `Line ${fault.line}: ${fault.text}.` : sizeFault(value, most));
  if (hasKey(draft.store)) note(faults, 'key', keyFault(draft.key));
  if (hasTtl(draft.store)) note(faults, 'ttl', ttlFault(draft.ttl));
  if (Object.keys(faults).length > 0) return { faults };
  return { faults, parcel: parcelOf(draft, value) };
}

/**
 * @param {Draft} draft
 * @param {unknown} payload
 * @returns {Parcel}
 */
function parcelOf(draft, payload) {
  const to = draft.to === 'others' || draft.to === 'user' ? draft.to : Number(draft.to);
  const store = draft.store === 'delete' ? 'latest' : draft.store;
  /** @type {Parcel} */
  const parcel = { to, store, type: draft.type, payload };
  if (draft.store === 'delete') parcel.delete = true;
  if (hasKey(draft.store)) parcel.key = draft.key;
  if (hasTtl(draft.store) && draft.ttl.trim() !== '') parcel.ttl = Number(draft.ttl);
  return parcel;
}

/** @param {Way} way */
export function hasKey(way) {
  return way === 'latest' || way === 'delete';
}

/** @param {Way} way */
export function hasTtl(way) {
  return way === 'log' || way === 'latest';
}

/**
 * @param {Faults} faults
 * @param {keyof Faults} field
 * @param {string | undefined} text
 */
function note(faults, field, text) {
  if (text !== undefined) faults[field] = text;
}

/** @param {string} to */
function targetFault(to) {
  if (to === 'others' || to === 'user' || /^[1-9]\d*$/.test(to)) return undefined;
  return 'Choose who gets it.';
}

/** @param {string} type */
function typeFault(type) {
  if (type === '') return 'A message needs a type, such as note.text.';
  if (type.length > MAX_TYPE_LENGTH) return `At most ${MAX_TYPE_LENGTH} characters.`;
  if (!TYPE.test(type)) return 'Only a–z, 0–9 and _, in parts joined by single dots.';
  const feature = type.split('.')[0];
  if (SERVERS_OWN.includes(feature)) return `Types of “${feature}” are the server’s own.`;
  if (!type.includes('.')) return 'A device may send only types with a dot, such as note.text.';
  if (RESERVED.includes(feature))
    return `Types of “${feature}” are reserved: devices may not send them.`;
  return undefined;
}

/** @param {string} key */
function keyFault(key) {
  if (key === '') return 'The latest of what? Give it a key, such as volume.';
  if (/\p{Surrogate}/u.test(key)) return 'This key has half of a character.';
  if ([...key].length > MAX_KEY_LENGTH) return `At most ${MAX_KEY_LENGTH} characters.`;
  return undefined;
}

/** @param {string} ttl */
function ttlFault(ttl) {
  const seconds = Number(ttl);
  if (ttl.trim() === '') return undefined;
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_TTL_SECONDS) return undefined;
  return `A whole number of seconds, from 1 to ${MAX_TTL_SECONDS} (a year).`;
}

/** @param {unknown} payload @param {number} most bytes */
function sizeFault(payload, most) {
  const bytes = new TextEncoder().encode(JSON.stringify(payload)).length;
  if (bytes <= most) return undefined;
  return `Too large: ${bytes} bytes, and ${most} fit into a message.`;
}
