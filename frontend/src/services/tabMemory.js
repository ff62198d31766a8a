/** What the page remembers of its session in this tab, over reloads and until the session ends. */

const KEY = 'switchboard.messages';

/**
 * Characters of each list. Browsers give a page's origin about 5 million for a tab, and the position
 * and the outbox of the client library need theirs.
 */
export const MOST_CHARACTERS = 500_000;

/**
 * Replaces what is remembered. Where the tab's storage is full or forbidden, nothing is.
 * @param {string} owner whose session it is
 * @param {Record<string, unknown[]>} lists newest first; of each the newest are kept that fit
 */
export function remember(owner, lists) {
  const texts = Object.entries(lists).map(([name, list]) => `"${name}":[${fitting(list)}]`);
  const text = `{"owner":${JSON.stringify(owner)},${texts.join(',')}}`;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // What was remembered before is older than the position that the client library keeps.
    forgetTab();
  }
}

/** @param {unknown[]} list */
function fitting(list) {
  /** @type {string[]} */
  const texts = [];
  let left = MOST_CHARACTERS;
  for (const one of list) {
    const text = JSON.stringify(one);
    left -= text.length + 1;
    if (left < 0) break;
    texts.push(text);
  }
  return texts.join(',');
}

/**
 * Returns a list that was remembered for this owner, and an empty one if there is none.
 * @param {string} owner
 * @param {string} name
 * @returns {any[]}
 */
export function recall(owner, name) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
    return kept.owner === owner && Array.isArray(kept[name]) ? kept[name] : [];
  } catch {
    return [];
  }
}

/** The session is over: nothing of it stays in this tab. */
export function forgetTab() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Where storage is forbidden, nothing was remembered.
  }
}
