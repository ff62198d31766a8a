/** @typedef {'browser' | 'phone' | 'tv' | 'other'} Kind */

/** @type {Map<string, { kind: Kind, words: string }>} */
const KINDS = new Map([
  ['web', { kind: 'browser', words: 'Browser' }],
  ['android', { kind: 'phone', words: 'Android' }],
  ['ios', { kind: 'phone', words: 'iPhone or iPad' }],
  ['android_tv', { kind: 'tv', words: 'Android TV' }],
]);

/**
 * Returns the kind of a device, for its icon and in words.
 * @param {string} type
 * @param {string} [system] a browser may be one of a phone
 * @returns {{ kind: Kind, words: string }}
 */
export function deviceKind(type, system = '') {
  const known = KINDS.get(type) ?? { kind: 'other', words: 'Device' };
  const pocket = known.kind === 'browser' && /Android|iPhone|iPad|iOS/.test(system);
  return pocket ? { ...known, kind: 'phone' } : known;
}

/** @typedef {{ id: number, device_type: string, device_name?: string }} Named */

/**
 * What a device is called: its name, with its number when another has the same one; one without a
 * name goes by its kind and number.
 * @param {Named} device
 * @param {Named[]} [all] the user's devices
 * @returns {string}
 */
export function deviceTitle(device, all = []) {
  const name = device.device_name;
  if (!name) return `${deviceKind(device.device_type).words} ${device.id}`;
  const shared = all.some((other) => other.id !== device.id && other.device_name === name);
  return shared ? `${name} (${device.id})` : name;
}
