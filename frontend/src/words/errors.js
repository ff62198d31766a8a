import { SwitchboardError } from '../../client/index.js';
import { ApiError } from '../services/api.js';

/** Sentences for codes of which the server's own words say too little to a person. */
const SENTENCES = new Map([
  ['unreachable', 'The server cannot be reached. Check your connection and try again.'],
  ['draining', 'The server is restarting. Try again in a moment.'],
  ['storage_unavailable', 'The server cannot read or write its data right now. Try again later.'],
  ['internal_error', 'Something went wrong on the server. Try again later.'],
  ['not_connected', 'There is no connection right now.'],
  ['disconnected', 'The connection was lost before there was an answer.'],
  ['timeout', 'There was no answer in time.'],
  ['expired', 'It waited too long for a connection and was given up.'],
  ['signed_out', 'You are signed out.'],
  ['rate_limited', 'That was too much at once. Wait a moment and try again.'],
  ['busy', 'The server has too much to do right now. Wait a moment and try again.'],
  ['timed_out', 'The server took too long. It may have done this: look before you try again.'],
]);

/**
 * What went wrong, as a sentence for people.
 * @param {unknown} error
 * @returns {string}
 */
export function sentence(error) {
  if (error instanceof ApiError || error instanceof SwitchboardError) {
    const words = SENTENCES.get(error.code) ?? error.message;
    return asSentence(words || 'The server refused this.');
  }
  return 'Something went wrong in this page. Reload it and try again.';
}

/** @param {string} words */
function asSentence(words) {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
