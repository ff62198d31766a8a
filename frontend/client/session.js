/** Milliseconds that the answer may take. */
const PATIENCE = 10_000;

/**
 * Why an upgrade was refused, which a browser does not say: the server is asked whether the session
 * holds.
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
