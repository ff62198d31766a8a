/** Milliseconds after a change until it is saved: once for all that change meanwhile. */
const PACE = 1000;

/**
 * Saves what has changed, soon after, and at once when the page goes: by a reload, or by a phone
 * that ends pages in the background without a word. A page that is put aside for the "back" button
 * saves nothing, since another one is in its place.
 * @param {() => void} save
 * @returns {() => void} notes a change
 */
export function useSaving(save) {
  let aside = false;
  /** @type {number | undefined} */
  let timer;

  function saveNow() {
    window.clearTimeout(timer);
    timer = undefined;
    if (!aside) save();
  }

  function putAside() {
    saveNow();
    aside = true;
  }

  window.addEventListener('pagehide', putAside);
  window.addEventListener('pageshow', () => (aside = false));
  document.addEventListener('visibilitychange', saveNow);
  return () => {
    timer ??= window.setTimeout(saveNow, PACE);
  };
}
