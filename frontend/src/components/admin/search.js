import { onScopeDispose, ref, watch } from 'vue';

/** Milliseconds, about a pause between two words. */
const PAUSE = 250;

/**
 * The text of a search field; calls `find` with it when the typing pauses.
 *
 * @param {string} begin
 * @param {(text: string) => void} find
 */
export function useSearch(begin, find) {
  const text = ref(begin);
  let found = begin;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  watch(text, (typed) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (typed.trim() === found) return;
      found = typed.trim();
      find(found);
    }, PAUSE);
  });
  onScopeDispose(() => clearTimeout(timer));
  return text;
}
