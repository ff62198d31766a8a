import { onMounted, onScopeDispose, watch } from 'vue';

/**
 * Runs something at once and then again and again, `every` milliseconds after its end, while the
 * page is visible and `paused` is false. Ends with the component.
 *
 * @param {() => Promise<unknown>} run never rejects
 * @param {number} every
 * @param {import('vue').Ref<boolean>} [paused]
 */
export function usePolling(run, every, paused) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let ended = false;
  let running = false;

  async function poll() {
    clearTimeout(timer);
    if (ended || running || document.hidden) return;
    running = true;
    await run();
    running = false;
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!ended && !paused?.value && !document.hidden) timer = setTimeout(poll, every);
  }

  function look() {
    clearTimeout(timer);
    if (!document.hidden && !paused?.value) void poll();
  }

  if (paused) watch(paused, look);
  document.addEventListener('visibilitychange', look);
  onMounted(poll);
  onScopeDispose(() => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', look);
  });
}
