import { ref } from 'vue';

/** @typedef {'system' | 'light' | 'dark'} Theme */

/** public/theme.js reads the same key before the first paint. */
const KEY = 'switchboard.theme';

/** @type {import('vue').Ref<Theme>} */
export const theme = ref(chosen());

/** @returns {Theme} */
function chosen() {
  const theme = document.documentElement.dataset.theme;
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

/**
 * Shows the app in this theme, now and on later visits.
 * @param {Theme} wanted
 */
export function setTheme(wanted) {
  theme.value = wanted;
  if (wanted === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  try {
    if (wanted === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, wanted);
  } catch {
    // Storage may be forbidden; the theme then holds until the page is left.
  }
}
