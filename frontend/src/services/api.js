/** A request that failed: the server refused it, or did not answer. */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 when there was no answer
   * @param {string} code to act on; 'unreachable' when there was no answer
   * @param {string} [detail] a sentence of the server
   * @param {{ errors?: FieldError[], retryAfter?: number }} [more] retryAfter in seconds
   */
  constructor(status, code, detail = '', more = {}) {
    super(detail || code);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.errors = more.errors ?? [];
    this.retryAfter = more.retryAfter;
  }
}

/** @typedef {{ field: string, code: string, detail: string }} FieldError */

/** @type {() => void} */
let whenSessionOver = () => {};

/**
 * Calls this whenever the server says that the session is over.
 * @param {() => void} listener
 */
export function onSessionOver(listener) {
  whenSessionOver = listener;
}

/**
 * Sends a request with JSON, and returns the answer's; the cookie tells the server who asks.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>} what the answer says; null when it is empty
 * @throws {ApiError}
 */
async function request(method, path, body) {
  /** @type {RequestInit} */
  const options = { method, headers: { Accept: 'application/json' }, cache: 'no-store' };
  if (body !== undefined) {
    options.headers = { ...options.headers, 'Content-Type': 'application/json' };
    options.body = JSON.stringify(body);
  }
  const { answer, text } = await exchange(path, options);
  const said = parsed(text);
  if (answer.ok) return said;
  const error = refusal(answer, said);
  if (error.status === 401 && error.code !== 'invalid_credentials') whenSessionOver();
  throw error;
}

/**
 * @param {string} path
 * @param {RequestInit} options
 */
async function exchange(path, options) {
  try {
    const answer = await fetch(path, options);
    return { answer, text: await answer.text() };
  } catch {
    throw new ApiError(0, 'unreachable', 'The server cannot be reached.');
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/**
 * @param {Response} answer
 * @param {any} said application/problem+json, or what a proxy in between made
 */
function refusal(answer, said) {
  const seconds = Number(answer.headers.get('Retry-After') ?? NaN);
  const code = typeof said?.code === 'string' ? said.code : codeOf(answer.status);
  const detail = typeof said?.detail === 'string' ? said.detail : '';
  return new ApiError(answer.status, code, detail, {
    errors: Array.isArray(said?.errors) ? said.errors : [],
    retryAfter: Number.isFinite(seconds) ? seconds : undefined,
  });
}

/**
 * A gateway answers in place of a server that is away.
 * @param {number} status
 */
function codeOf(status) {
  if (status >= 502 && status <= 504) return 'unreachable';
  return status >= 500 ? 'internal_error' : `http_${status}`;
}

export const api = {
  /** @param {string} path */
  get: (path) => request('GET', path),
  /**
   * @param {string} path
   * @param {unknown} [body]
   */
  post: (path, body) => request('POST', path, body),
  /**
   * @param {string} path
   * @param {unknown} body
   */
  patch: (path, body) => request('PATCH', path, body),
  /** @param {string} path */
  delete: (path) => request('DELETE', path),
};
