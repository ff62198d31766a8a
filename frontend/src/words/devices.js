/** @typedef {'browser' | 'phone' | 'tv' | 'other'} Kind */

/** @type {Map<string, { kind: Kind, words: string }>} */
const KINDS = new Map([
  ['web', { kind: 'browser', words: 'Browser' }],
  ['android', { kind: 'phone', words: 'Android' }],
  ['ios', { kind: 'phone', words: 'iPhone or iPad' }],
  ['android_tv', { kind: 'tv', words: 'Android TV' }],
]);

/**
 * What a device is, for its icon and in words.
 * @param {string} type
 * @param {string} [system] a browser may be one of a phone
 * @returns {{ kind: Kind, words: string }}
 */
export function deviceKind(type, system = '') {
  const known = KINDS.get(type) ?? { kind: 'other', words: 'Device' };
  const pocket = known.kind === 'browser' && /Android|iPhone|iPad|iOS/.test(system);
  return pocket ? { ...known, kind: 'phone' } : known;
}

/**
 * What a device is called; one without a name goes by its kind and number.
 * @param {{ id: number, device_type: string, device_name?: string }} device
 * @returns {string}
 */
export function deviceTitle(device) {
  return device.device_name || `${deviceKind(device.device_type).words} ${device.id}`;
}
