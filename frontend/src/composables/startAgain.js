import { onScopeDispose, watch } from 'vue';
import { useAuth } from '../store/auth.js';

/** Milliseconds: the longest wait, as between two attempts of the client library. */
const LONGEST = 5000;

/** While the app could not start, tries again after random times, which spread many pages. */
export function useStartingAgain() {
  const auth = useAuth();
  /** @type {number | undefined} */
  let timer;

  watch(
    () => auth.starting,
    (starting) => {
      window.clearTimeout(timer);
      if (starting || !auth.problem) return;
      timer = window.setTimeout(() => auth.start(), Math.random() * LONGEST);
    },
  );
  onScopeDispose(() => window.clearTimeout(timer));
}
