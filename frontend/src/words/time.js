// English, as all texts here; the full time goes by the reader's own habits.
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });

/** @type {[Intl.RelativeTimeFormatUnit, number][]} units and their milliseconds */
const UNITS = [
  ['year', 365 * 86_400_000],
  ['month', 30 * 86_400_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];

/**
 * "3 minutes ago", "in 2 hours"; within a minute "just now".
 * @param {number} at milliseconds since 1970
 * @param {number} now milliseconds since 1970
 */
export function ago(at, now) {
  const distance = at - now;
  for (const [unit, length] of UNITS) {
    if (Math.abs(distance) >= length) return relative.format(Math.trunc(distance / length), unit);
  }
  return 'just now';
}

/** @param {number} at milliseconds since 1970 */
export function fullTime(at) {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** @param {number} at milliseconds since 1970 */
export function clockTime(at) {
  return new Date(at).toLocaleTimeString(undefined, { timeStyle: 'medium' });
}

/**
 * The time of day, with the day if that is another one than `now`'s.
 * @param {number} at milliseconds since 1970
 * @param {number} now milliseconds since 1970
 */
export function momentTime(at, now) {
  const sameDay = new Date(at).toDateString() === new Date(now).toDateString();
  return sameDay ? clockTime(at) : fullTime(at);
}

/**
 * "45 s", "3 min 5 s", "2 h 10 min".
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
