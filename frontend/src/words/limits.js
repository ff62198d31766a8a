/**
 * The limits of the server, in words and with the settings that raise them (a test compares both
 * with the server's).
 *
 * @type {Map<string, { words: string, settings: string }>}
 */
const LIMITS = new Map([
  ['messages', { words: 'Messages of all devices', settings: 'user_messages_per_second' }],
  ['bytes', { words: 'Bytes of all devices', settings: 'user_bytes_per_second' }],
  ['deliveries', { words: 'Deliveries to connections', settings: 'user_deliveries_per_second' }],
  ['durable', { words: 'Durable messages of all devices', settings: 'user_durable_per_second' }],
  ['upgrades', { words: 'New connections', settings: 'user_upgrades_per_second' }],
  ['writes', { words: 'Changes over HTTP', settings: 'user_writes_per_second' }],
  ['devices', { words: 'New devices in a day', settings: 'new_devices_per_day' }],
  [
    'connection',
    {
      words: 'Messages or bytes of one connection',
      settings: 'messages_per_second, bytes_per_second',
    },
  ],
  [
    'connection_durable',
    { words: 'Durable messages of one connection', settings: 'durable_per_second' },
  ],
]);

/**
 * Returns what a limit is of and what raises it; one that only a newer server has goes by its name.
 *
 * @param {string} name
 */
export function limitWords(name) {
  return LIMITS.get(name) ?? { words: name, settings: '' };
}
