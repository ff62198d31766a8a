import { ref } from 'vue';

/** What the shell's live region says to screen readers. */
export const announcement = ref('');

/**
 * Says this to screen readers when they have finished what they are at.
 * @param {string} text
 */
export function announce(text) {
  // The same words again are said only if the region changes: a space at the end is not heard.
  announcement.value = announcement.value === text ? `${text}\u00a0` : text;
}
