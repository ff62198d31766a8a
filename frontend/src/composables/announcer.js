import { ref } from 'vue';

/** What the shell's live region says to screen readers. */
export const announcement = ref('');

/**
 * Has screen readers say this when they have finished their current text.
 * @param {string} text
 */
export function announce(text) {
  // Screen readers say a text again only if the region changes, so it gets a space at its end.
  announcement.value = announcement.value === text ? `${text}\u00a0` : text;
}
