/**
 * Why something that was asked for did not happen. `code` is a code of the wire, such as
 * `forbidden`, or one of ours: `not_connected`, `disconnected`, `timeout`, `expired`, `signed_out`.
 */
export class SwitchboardError extends Error {
  /** @param {string} code @param {string} [message] for people */
  constructor(code, message = code) {
    super(message);
    this.name = 'SwitchboardError';
    this.code = code;
  }
}
