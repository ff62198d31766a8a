import { onScopeDispose } from 'vue';
import { ping, wsConnected } from '../services/websocket.js';

/** Milliseconds between two measurements while somebody looks at them. */
const PACE = 1000;

/** Measures the round trip again and again, as long as the screen is open and seen. */
export function useMeasuring() {
  function measure() {
    // The connection itself notices a lost answer.
    if (wsConnected.value && document.visibilityState === 'visible') ping().catch(() => {});
  }

  const timer = window.setInterval(measure, PACE);
  onScopeDispose(() => window.clearInterval(timer));
}
