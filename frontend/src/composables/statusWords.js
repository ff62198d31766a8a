import { computed } from 'vue';
import { wsConnectionStatus, wsOffline, wsStatusDetail } from '../services/websocket.js';
import { statusWords } from '../words/status.js';
import { useNow } from './now.js';

/** The connection in words, counting down to the next try. */
export function useStatusWords() {
  const now = useNow(1000);
  const words = computed(() =>
    statusWords({
      status: wsConnectionStatus.value,
      detail: wsStatusDetail.value,
      offline: wsOffline.value,
      now: now.value,
    }),
  );
  return { tone: computed(() => words.value.tone), label: computed(() => words.value.label) };
}
