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

/** What to do about such a close. */
const ADVICE = new Map([
  ['too_many', 'Connecting again closes the one that was silent for longest.'],
  ['replaced', 'It goes on there. Connecting again ends that one.'],
  ['abuse', 'Reload the page before you connect again.'],
]);

/** Why the connection was lost, where more than that is known. */
const LOST = new Map([
  ['offline', 'No network'],
  ['unreachable', 'The server cannot be reached'],
  ['timeout', 'The server did not answer'],
  ['shutting_down', 'The server is restarting'],
  ['overloaded', 'The server has too much to do'],
  ['closed_by_operator', 'Closed by an operator'],
  ['stream_reset', 'The server counts its messages anew'],
  ['internal', 'The server failed'],
  ['ping_unanswered', 'This page did not answer the server'],
  ['too_slow', 'This page was too slow for its messages'],
  ['rate_limit', 'This page sent too much at once'],
  ['refused', 'The server refused the connection'],
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
  const closed = CLOSED.get(reason) ?? (detail.code ? 'Closed by the server' : 'Not connected');
  return { tone: 'off', label: closed };
}

/**
 * Whether the page tries by itself to connect.
 * @param {Pick<Situation, 'status' | 'detail'>} situation
 */
export function isTrying({ status, detail }) {
  return status === 'connecting' || detail.retryAt !== undefined;
}

/**
 * What a button does about the connection in this state, in two words.
 * @param {Pick<Situation, 'status' | 'offline'>} situation
 */
export function actionWords({ status, offline = false }) {
  if (status === 'connected' || status === 'catching-up') return 'Go offline';
  if (status === 'connecting') return 'Connecting…';
  return offline ? 'Go online' : 'Connect now';
}

/**
 * Why there is no connection, and what to do about it where the page tries no more.
 * @param {Situation} situation
 * @returns {{ why: string, advice: string }}
 */
export function lossWords(situation) {
  const { label } = statusWords(situation);
  const advice = isTrying(situation) ? '' : (ADVICE.get(situation.detail.reason ?? '') ?? '');
  return { why: label.endsWith('…') ? label : `${label}.`, advice };
}

/** @param {number} wait milliseconds */
function nextTry(wait) {
  const seconds = Math.ceil(wait / 1000);
  return seconds > 0 ? `next try in ${seconds} s` : 'trying again';
}
