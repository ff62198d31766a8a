/**
 * The close codes of the server as data: code, reason, whether to come back.
 *
 * @typedef {{ code: number, reason: string, reconnect: boolean }} Close
 * @type {readonly (readonly [code: number, reason: string, reconnect: boolean])[]}
 */
export const CLOSES = [
  [1000, 'replaced', false],
  [1000, 'too_many', false],
  [1000, 'signed_out', false],
  [1001, 'shutting_down', true],
  [1001, 'stream_reset', true],
  [1011, 'internal', true],
  [1013, 'overloaded', true],
  [4001, 'ping_unanswered', true],
  [4002, 'too_slow', true],
  [4003, 'rate_limit', true],
  [4004, 'closed_by_operator', true],
  [4501, 'session_expired', false],
  [4502, 'revoked', false],
  [4503, 'abuse', false],
];

/** The reasons after which coming back soon would make things worse. */
const STRAINED = ['overloaded', 'rate_limit'];

/** The reasons for which nothing of the session may be left: position and outbox are discarded. */
const FORGOTTEN = ['signed_out', 'revoked'];

/** The reasons after which the user must sign in again. */
const SIGNED_OUT = [...FORGOTTEN, 'session_expired', 'no_token'];

/**
 * Returns what a close means. An unknown code or reason goes by its range: 1000 and 45xx are final,
 * all others are accidents after which to come back.
 *
 * @param {number} code
 * @param {string} given the reason in the close frame; may be empty
 * @returns {Close}
 */
export function closeOf(code, given) {
  const known =
    CLOSES.find((close) => close[0] === code && close[1] === given) ??
    CLOSES.find((close) => close[0] === code && code > 4000);
  const [, reason, reconnect] = known ?? [
    code,
    given || 'lost',
    code !== 1000 && (code < 4500 || code > 4599),
  ];
  return { code, reason, reconnect };
}

/**
 * Returns whether the session has ended by this reason.
 *
 * @param {string} reason
 */
export const isSignedOut = (reason) => SIGNED_OUT.includes(reason);

/**
 * Whether the server closed because it was asked for too much.
 *
 * @param {string} reason
 */
export const isStrained = (reason) => STRAINED.includes(reason);

/**
 * Whether what was kept for the session must be discarded.
 *
 * @param {string} reason
 */
export const isForgotten = (reason) => FORGOTTEN.includes(reason);
