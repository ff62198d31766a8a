/**
 * @typedef {object} Target with `to` the message goes to devices, else to the server's feature
 * @property {number | 'others' | 'user'} [to]
 * @property {'none' | 'log' | 'latest'} [store]
 * @property {string} [key] with `latest` and `delete`
 * @property {number} [ttl] seconds
 * @property {string} [messageId] makes a repeat harmless
 * @property {boolean} [delete] the `latest` value of the key is gone
 */

/**
 * Returns the type and the payload that the server gets, the payload as text.
 *
 * @param {string} type
 * @param {unknown} payload
 * @param {Target} target
 * @returns {[type: string, body: string]}
 */
export function wrap(type, payload, { to, store, key, ttl, messageId, delete: gone }) {
  if (to === undefined) return [type, encode(payload)];
  const body = { to, type, payload, store, key, ttl, message_id: messageId, delete: gone };
  return ['device.send', encode(body)];
}

/**
 * @param {string} type
 * @param {string} body
 * @param {string} [id] asks for an answer
 */
export function frame(type, body, id) {
  return `{"type":${encode(type)},${id ? `"id":"${id}",` : ''}"payload":${body}}`;
}

/**
 * Encodes as JSON, and replaces half a surrogate pair, which cutting a text inside an emoji leaves and
 * the server refuses. JSON writes only such halves as `\ud…`, in keys too; two backslashes are one of
 * the text's own.
 *
 * @param {unknown} value
 */
function encode(value) {
  const text = JSON.stringify(value) ?? 'null';
  return text.replace(/(\\\\)|\\ud[89a-f]../g, (_, own) => own ?? '\ufffd');
}
