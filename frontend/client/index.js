import { Client } from './client.js';
import { pageEnvironment } from './environment.js';

export { SwitchboardError } from './errors.js';

/**
 * @typedef {object} Options
 * @property {string} [url] of the server, http or https; the page's own origin if left out
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] for pages of
 *   another origin, which have no cookie; a function is asked at each attempt, and before its token
 *   ends. One that returns none says that nobody is signed in
 * @property {string} [name] in front of what is kept in sessionStorage; give each of several clients
 *   of a page its own
 * @property {'live'} [resume] where a tab starts that was never here: with `live` what the device
 *   missed is skipped, else it comes
 */

/**
 * A connection to a Switchboard server that comes back by itself and misses nothing. Nothing happens
 * until `connect()`.
 *
 * @param {Options} [options]
 * @param {Partial<import('./environment.js').Environment>} [environment] for tests
 */
export function createClient(options = {}, environment = {}) {
  // Sealed, for Vue would wrap it in a proxy otherwise, which private fields do not survive.
  return Object.seal(new Client(options, { ...pageEnvironment(), ...environment }));
}
