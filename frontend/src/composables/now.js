import { getCurrentScope, onScopeDispose, readonly, ref } from 'vue';

/** @type {Map<number, { now: import('vue').Ref<number>, users: number, timer: number }>} */
const clocks = new Map();

/**
 * The time in milliseconds since 1970, updated every `every` milliseconds. Components with the same
 * interval share one timer, which ends with the last of them.
 * @param {number} [every]
 */
export function useNow(every = 30_000) {
  const clock = clocks.get(every) ?? start(every);
  clock.users += 1;
  if (getCurrentScope()) onScopeDispose(() => leave(every));
  return readonly(clock.now);
}

/** @param {number} every */
function start(every) {
  const now = ref(Date.now());
  const timer = window.setInterval(() => (now.value = Date.now()), every);
  const clock = { now, users: 0, timer };
  clocks.set(every, clock);
  return clock;
}

/** @param {number} every */
function leave(every) {
  const clock = clocks.get(every);
  if (!clock || --clock.users > 0) return;
  window.clearInterval(clock.timer);
  clocks.delete(every);
}
