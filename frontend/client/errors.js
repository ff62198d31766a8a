/**
 * Why a request failed. `code` is a code of the server's, such as `forbidden`, or one of
 * the library's: `not_connected`, `disconnected`, `timeout`, `expired`, `signed_out`.
 */
export class SwitchboardError extends Error {
  /** @param {string} code @param {string} [message] for people */
  constructor(code, message = code) {
    super(message);
    this.name = 'SwitchboardError';
    this.code = code;
  }
}
