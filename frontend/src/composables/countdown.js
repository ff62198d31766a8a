import { onScopeDispose, ref } from 'vue';

/** Whole seconds that count down to 0. */
export function useCountdown() {
  const left = ref(0);
  let until = 0;
  /** @type {number | undefined} */
  let timer;

  function tick() {
    left.value = Math.max(0, Math.ceil((until - performance.now()) / 1000));
    if (left.value === 0) window.clearInterval(timer);
  }

  /** @param {number} seconds */
  function begin(seconds) {
    window.clearInterval(timer);
    until = performance.now() + seconds * 1000;
    timer = window.setInterval(tick, 250);
    tick();
  }

  onScopeDispose(() => window.clearInterval(timer));
  return { left, begin };
}
