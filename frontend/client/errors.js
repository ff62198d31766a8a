/**
 * Why a request failed. `code` is a code of the server's, such as `forbidden`, or one of
 * the library's: `not_connected`, `disconnected`, `timeout`, `expired`, `signed_out`.
 */
export class SwitchboardError extends Error {
  /**
   * @param {string} code
   * @param {string} [message] for people
   * @param {number} [retryAfter] milliseconds until the server would take the same again
   */
  constructor(code, message = code, retryAfter = undefined) {
    super(message);
    this.name = 'SwitchboardError';
    this.code = code;
    this.retryAfter = retryAfter;
  }
}
