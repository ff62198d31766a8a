/** The device that this browser is to the server: made once, and kept for later visits. */

const KEY = 'switchboard.device';
const SHAPE = /^[A-Za-z0-9-]{8,64}$/;

/** Where storage is forbidden, at least the page keeps it. */
let inMemory = '';

/** @returns {string} */
export function deviceUuid() {
  const kept = inMemory || stored();
  if (SHAPE.test(kept)) return kept;
  const made = newUuid();
  inMemory = made;
  try {
    localStorage.setItem(KEY, made);
  } catch {
    return made;
  }
  return made;
}

function stored() {
  try {
    return localStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** Not crypto.randomUUID, which plain http does not have. */
function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Texts to look for in the user agent; a specific one comes before those that it also contains. */
/** @type {[RegExp, string][]} */
const BROWSERS = [
  [/\bEdg(e|A|iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(Firefox|FxiOS)\//, 'Firefox'],
  [/\b(Headless)?(Chrome|Chromium|CriOS)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
];

/** @type {[RegExp, string][]} */
const SYSTEMS = [
  [/\bAndroid\b/, 'Android'],
  [/\b(iPhone|iPod)\b/, 'iPhone'],
  [/\biPad\b/, 'iPad'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bLinux\b/, 'Linux'],
];

/**
 * @param {[RegExp, string][]} names
 * @param {string} agent
 */
function find(names, agent) {
  return names.find(([pattern]) => pattern.test(agent))?.[1];
}

/**
 * "Chrome on Linux", as far as the browser tells.
 * @param {string} [agent]
 * @returns {string}
 */
export function deviceName(agent = navigator.userAgent) {
  const system = osInfo(agent);
  return `${find(BROWSERS, agent) ?? 'Browser'}${system ? ` on ${system}` : ''}`;
}

/**
 * @param {string} [agent]
 * @returns {string | null}
 */
export function osInfo(agent = navigator.userAgent) {
  return find(SYSTEMS, agent) ?? null;
}
