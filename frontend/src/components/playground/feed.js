/** @typedef {import('../../store/messages.js').Arrival} Arrival */

/** @param {string} type @returns {string} the text before the first dot */
export function featureOf(type) {
  return type.split('.')[0];
}

/**
 * Returns the arrivals of this feature whose type, key or payload has the text.
 *
 * @param {Arrival[]} arrivals
 * @param {string} text blank finds all
 * @param {string} feature blank means any
 */
export function filtered(arrivals, text, feature) {
  const sought = text.trim().toLowerCase();
  return arrivals.filter(
    ({ type, json, key = '' }) =>
      (!feature || featureOf(type) === feature) &&
      (!sought || [type, json, key].some((one) => one.toLowerCase().includes(sought))),
  );
}

/**
 * The message as the server sent it, and when it came.
 *
 * @param {Arrival} arrival
 */
export function asRecord(arrival) {
  const { cameAt, type, payload, offset, time, key, deleted, from, snapshot, replayed } = arrival;
  return {
    received_at: new Date(cameAt).toISOString(),
    type,
    payload: payload ?? null,
    ...(offset === undefined ? {} : { offset }),
    ...(time === undefined ? {} : { time }),
    ...(key === undefined ? {} : { key }),
    ...(deleted ? { deleted } : {}),
    ...(from ? { from } : {}),
    ...(snapshot ? { snapshot } : {}),
    ...(replayed ? { replayed } : {}),
  };
}

/**
 * Returns all of them as JSON, oldest first.
 *
 * @param {Arrival[]} arrivals newest first
 */
export function asJson(arrivals) {
  return JSON.stringify([...arrivals].reverse().map(asRecord), null, 2);
}
