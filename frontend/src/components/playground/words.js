/** The outcome of a send, said for people. */

/**
 * @typedef {import('../../store/messages.js').SendRecord} SendRecord
 * @typedef {(deviceId: number) => string} NameOf
 */

/** @type {Record<string, string>} */
const FAULTS = {
  not_connected:
    'Not connected, and a message that is not kept cannot wait. Go online, or choose log or latest.',
  disconnected: 'The connection was lost before the answer came. Nobody knows whether it arrived.',
  timeout: 'The server did not answer within 10 seconds.',
  expired: 'It waited in the outbox for longer than it was good for, and was not sent.',
  signed_out: 'You were signed out before it was sent.',
  rate_limited: 'Too many messages at once: this one was dropped. Wait a moment.',
  busy: 'Too many messages wait on the server. It did nothing with this one. Try again later.',
  timed_out: 'The server took too long and gave up. Nobody knows whether this was done.',
  device_not_found: 'There is no such device of yours. It may have been signed out.',
  too_many_keys: 'Your devices keep as many latest values as the server allows. Use an old key.',
  too_many_ids:
    'You have sent as many kept messages as the server tells apart in a day. It goes out when there is space again.',
  id_conflict: 'This message_id was used for another message, so the server refused it.',
  too_large: 'The message is larger than the server takes.',
  overloaded: 'The server has too much to store just now; nothing of this is kept. Try again.',
  storage_unavailable: 'The server cannot write to its disk; nothing of this is kept. Try again.',
  internal_error: 'The server failed. Its log has the reason.',
};

/**
 * Says why a message was refused.
 *
 * @param {string} code of the wire or of the client library
 * @param {string} [message] what came with it
 */
export function faultText(code, message) {
  if (code in FAULTS) return FAULTS[code];
  return message ? `Refused (${code}): ${message}.`.replace('..', '.') : `Refused: ${code}.`;
}

/**
 * Names where a message goes.
 *
 * @param {number | 'others' | 'user'} to
 * @param {NameOf} nameOf
 */
export function targetText(to, nameOf) {
  if (to === 'others') return 'my other devices';
  if (to === 'user') return 'all my devices';
  return nameOf(to);
}

/**
 * Says what became of a send.
 *
 * @param {SendRecord} record
 * @param {NameOf} nameOf
 */
export function outcomeText(record, nameOf) {
  if (record.status === 'sending') return 'Sending…';
  if (record.status === 'waiting')
    return record.fault ?? 'Waiting in the outbox. It goes out when you are online again.';
  if (record.status === 'refused') return record.fault ?? 'Refused.';
  if (record.duplicate)
    return `The server had it already, as offset ${record.offset}: it counts once.`;
  return `${takers(record, nameOf)}${kept(record)}`;
}

/** @param {SendRecord} record @param {NameOf} nameOf */
function takers(record, nameOf) {
  const names = (record.delivered ?? []).map(nameOf);
  if (names.length > 0) return `Taken by ${list(names)}.`;
  return record.store === 'none'
    ? 'Nobody was there to take it.'
    : 'Nobody has taken it yet; whoever is away gets it later.';
}

/** @param {SendRecord} record */
function kept(record) {
  if (record.offset === undefined) return '';
  return ` ${record.parcel.delete ? 'Deleted' : 'Kept'} as offset ${record.offset}.`;
}

/** @param {string[]} names */
function list(names) {
  if (names.length === 1) return names[0];
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/**
 * Says how long it took: milliseconds on the network, or the time in the outbox.
 *
 * @param {SendRecord} record
 */
export function tookText(record) {
  if (record.tookMs === undefined || record.status !== 'delivered') return '';
  if (!record.waited) return `${Math.max(1, Math.round(record.tookMs))} ms`;
  return `after ${Math.max(1, Math.round(record.tookMs / 1000))} s`;
}
