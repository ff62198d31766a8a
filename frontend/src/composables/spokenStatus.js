import { onScopeDispose, watch } from 'vue';
import {
  wsConnected,
  wsConnectionStatus,
  wsOffline,
  wsStatusDetail,
} from '../services/websocket.js';
import { useAuth } from '../store/auth.js';
import { isTrying, lossWords } from '../words/status.js';
import { announce } from './announcer.js';

/** A connection that is back within this many milliseconds is not worth a word. */
const WORTH_SAYING = 2000;

/** Says to screen readers when the connection is lost for longer, and when it is back then. */
export function useSpokenStatus() {
  const auth = useAuth();
  let saidLost = false;
  /** @type {number | undefined} */
  let timer;
  watch(wsConnected, (connected) => {
    window.clearTimeout(timer);
    if (connected && saidLost) announce('Connected again.');
    if (connected || !auth.signedIn) saidLost = false;
    else timer = window.setTimeout(sayLost, WORTH_SAYING);
  });
  onScopeDispose(() => window.clearTimeout(timer));

  function sayLost() {
    if (!auth.signedIn) return;
    saidLost = true;
    announce(wsOffline.value ? 'You are offline.' : lossSpoken());
  }
}

/** Without the seconds, which have passed when it is said. */
function lossSpoken() {
  const situation = { status: wsConnectionStatus.value, detail: wsStatusDetail.value };
  if (isTrying(situation)) return 'The connection is lost. Trying again.';
  const { why, advice } = lossWords({ ...situation, now: Date.now() });
  return `${why} ${advice}`.trim();
}
