/**
 * @typedef {{ status: string, detail: StatusDetail, offline?: boolean, now: number }} Situation
 * @typedef {{ reason?: string, code?: number, retryAt?: number, attempts?: number }} StatusDetail
 * @typedef {'on' | 'busy' | 'off' | 'bad'} Tone
 */

/** Why the server closed and does not want us back, by the reason of the close. */
const CLOSED = new Map([
  ['replaced', 'Closed: this tab was opened a second time'],
  ['too_many', 'Closed: this device has too many connections'],
  ['abuse', 'Closed: the server did not accept what this page sent'],
]);

/** Why the connection was lost, where more than that is known. */
const LOST = new Map([
  ['offline', 'No network'],
  ['unreachable', 'The server cannot be reached'],
  ['timeout', 'The server did not answer'],
  ['shutting_down', 'The server is restarting'],
  ['overloaded', 'The server has too much to do'],
  ['closed_by_operator', 'Closed by an operator'],
]);

/** Why a session ended, said on the sign-in screen. */
const FAREWELLS = new Map([
  ['revoked', 'This device was signed out from elsewhere, or your password was changed.'],
  ['session_expired', 'Your session has expired. Sign in again to go on.'],
  ['signed_out', 'You signed out in another tab.'],
]);

/**
 * Why the session is over, as a sentence.
 * @param {string | undefined} reason
 * @returns {string}
 */
export function farewell(reason) {
  return FAREWELLS.get(reason ?? '') ?? 'Your session is over. Sign in again to go on.';
}

/**
 * The state of the connection in words, with the planned retry, and the tone of its dot.
 * @param {Situation} situation
 * @returns {{ tone: Tone, label: string }}
 */
export function statusWords({ status, detail, offline = false, now }) {
  if (status === 'connected') return { tone: 'on', label: 'Connected' };
  if (status === 'catching-up') return { tone: 'busy', label: 'Catching up on what was missed' };
  if (status === 'connecting') {
    return { tone: 'busy', label: detail.attempts ? 'Reconnecting…' : 'Connecting…' };
  }
  if (status === 'signed-out') return { tone: 'off', label: 'Signed out' };
  if (offline) return { tone: 'off', label: 'Offline, because you went offline' };
  const reason = detail.reason ?? '';
  if (detail.retryAt) {
    const why = LOST.get(reason) ?? 'Connection lost';
    return { tone: 'bad', label: `${why}, ${nextTry(detail.retryAt - now)}` };
  }
  return { tone: 'off', label: CLOSED.get(reason) ?? 'Not connected' };
}

/** @param {number} wait milliseconds */
function nextTry(wait) {
  const seconds = Math.ceil(wait / 1000);
  return seconds > 0 ? `next try in ${seconds} s` : 'trying again';
}
