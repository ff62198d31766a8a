/** Milliseconds within which the answer must come. */
const PATIENCE = 10_000;

/**
 * Asks the server whether the session holds, since a browser does not tell why an upgrade was refused.
 *
 * @param {import('./environment.js').Environment} environment
 * @param {string} url of the server
 * @param {() => Promise<string | undefined>} askToken
 * @returns {Promise<import('./connection.js').Ending>}
 */
export async function askSession({ fetch, setTimeout, clearTimeout }, url, askToken) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), PATIENCE);
  try {
    const late = new Promise((_, reject) => (controller.signal.onabort = reject));
    const token = await Promise.race([askToken(), late]);
    const answer = await fetch(url + '/v1/auth/session', {
      cache: 'no-store',
      headers: token ? { Authorization: 'Bearer ' + token } : {},
      signal: controller.signal,
    });
    if (answer.status === 401) return { reason: 'session_expired', reconnect: false };
    const after = answer.ok ? 0 : Number(answer.headers.get('Retry-After')) * 1000 || 0;
    return { reason: 'refused', reconnect: true, after };
  } catch {
    return { reason: 'unreachable', reconnect: true };
  } finally {
    clearTimeout(timer);
  }
}
