/**
 * Tells when the page wakes up, when its network changes, and when it goes away or comes back.
 *
 * @param {import('./environment.js').Environment} environment
 * @param {object} hooks
 * @param {() => void} hooks.wake the page may have slept: look whether the connection is alive
 * @param {() => void} hooks.offline
 * @param {() => void} hooks.hide the page goes; only one without a socket can be kept for "back"
 * @param {() => void} hooks.show the page came back from where it was kept
 */
export function watchPage({ document, window, navigator }, { wake, offline, hide, show }) {
  document?.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') wake();
  });
  document?.addEventListener('resume', wake);
  navigator?.connection?.addEventListener?.('change', wake);
  window?.addEventListener('online', wake);
  window?.addEventListener('offline', offline);
  window?.addEventListener('pagehide', hide);
  window?.addEventListener('pageshow', (event) => {
    if (/** @type {PageTransitionEvent} */ (event).persisted) show();
  });
}
