/** Tells this browser's other tabs when somebody signed in or out. */

/** @typedef {'signed-in' | 'signed-out'} News */

const NAME = 'switchboard.session';

/**
 * @param {(news: News) => void} listener
 * @returns {(news: News) => void} tells the others; not oneself
 */
export function joinTabs(listener) {
  if (typeof BroadcastChannel === 'undefined') return () => {};
  const line = new BroadcastChannel(NAME);
  line.onmessage = (said) => {
    if (said.data === 'signed-in' || said.data === 'signed-out') listener(said.data);
  };
  return (news) => line.postMessage(news);
}
