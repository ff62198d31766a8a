import { computed, onScopeDispose, ref, watch } from 'vue';
import {
  wsConnected,
  wsConnectionStatus,
  wsOffline,
  wsStatusDetail,
} from '../services/websocket.js';
import { isTrying, lossWords } from '../words/status.js';
import { useNow } from './now.js';

/** A connection that is back within this many milliseconds is not worth moving the page for. */
const WORTH_SHOWING = 1000;

/** Why there is no connection, in words; null while there is one, or may be in a moment. */
export function useLoss() {
  const now = useNow(1000);
  const lasts = ref(false);
  /** @type {number | undefined} */
  let timer;

  watch(wsConnected, restart, { immediate: true });
  onScopeDispose(() => window.clearTimeout(timer));

  function restart() {
    window.clearTimeout(timer);
    lasts.value = false;
    if (!wsConnected.value) timer = window.setTimeout(() => (lasts.value = true), WORTH_SHOWING);
  }

  return computed(() => {
    const situation = {
      status: wsConnectionStatus.value,
      detail: wsStatusDetail.value,
      offline: wsOffline.value,
      now: now.value,
    };
    if (wsConnected.value || (isTrying(situation) && !lasts.value)) return null;
    return lossWords(situation);
  });
}
