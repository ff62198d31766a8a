/**
 * Returns the name of a user: the handle, or what the application calls them.
 *
 * @param {{id?: number, user_id?: number, user_handle?: string, sub?: string}} user
 */
export function userName(user) {
  return user.user_handle ?? user.sub ?? `User ${user.id ?? user.user_id}`;
}

/** @param {{permissions: string[]}} user */
export function isAdministrator(user) {
  return user.permissions.includes('admin');
}

/**
 * Returns the name of a device of which only name and kind are known.
 *
 * @param {{device_id: number, device_name?: string}} device
 */
export function deviceName(device) {
  return device.device_name ?? `Device ${device.device_id}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB'];

/**
 * "0 B", "12 KiB".
 *
 * @param {number} bytes
 */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Math.round(value)} ${UNITS[unit]}`;
}

/**
 * "1 device", "2 devices".
 *
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
