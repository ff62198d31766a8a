/** The whole app as a page, and what one finds on it. */
import { mount } from '@vue/test-utils';
import { createMemoryHistory } from 'vue-router';
import { openTab } from './tab.js';
import { until } from './until.js';

/**
 * Returns the app at this path, of an administrator who is signed in if nothing else is said; the
 * test unmounts `page`.
 *
 * @param {string} path
 * @param {[string, string]} [who]
 */
export async function openPage(path, who = ['root', 'battery staple']) {
  const tab = await openTab();
  await tab.auth.signIn(...who);
  const { createAppRouter } = await import('../../src/router.js');
  const { default: App } = await import('../../src/App.vue');
  const router = createAppRouter(tab.auth, createMemoryHistory());
  void tab.auth.start();
  await router.push(path);
  const page = mount(App, { attachTo: document.body, global: { plugins: [tab.pinia, router] } });
  return { ...tab, page, router };
}

/** @typedef {Awaited<ReturnType<typeof openPage>>['page']} Page */

/** @param {Page} page @param {string} words */
export function button(page, words) {
  const found = page
    .findAll('button')
    .find((one) => one.text() === words || one.attributes('aria-label') === words);
  if (!found) throw new Error(`there is no button ${words}`);
  return found;
}

/** @param {Page} page @param {string} words */
export function says(page, words) {
  return until(() => page.text().includes(words));
}
