// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FakeServer } from './server.js';
import { openTab } from './tab.js';

/** @type {FakeServer} */
let server;

beforeEach(() => {
  server = new FakeServer().install();
});

afterEach(() => vi.unstubAllGlobals());

test('a refusal has the status, code, sentence and wait of the server', async () => {
  const { api, ApiError } = await openTab();
  server.refuseOnce('POST /v1/auth/login', 429, 'too_many_attempts', { 'Retry-After': '17' });
  const error = await api.post('/v1/auth/login', {}).catch((refused) => refused);
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({
    status: 429,
    code: 'too_many_attempts',
    detail: 'The server says too_many_attempts.',
    retryAfter: 17,
    errors: [],
  });
});

test('no answer at all is unreachable', async () => {
  const { api } = await openTab();
  server.down = true;
  await expect(api.get('/v1/devices')).rejects.toMatchObject({ status: 0, code: 'unreachable' });
});

test.each([
  [502, 'unreachable'],
  [504, 'unreachable'],
  [500, 'internal_error'],
  [418, 'http_418'],
])('what a proxy answers with %i and HTML is %s', async (status, code) => {
  vi.stubGlobal('fetch', async () => new Response('<h1>nginx</h1>', { status }));
  const { api } = await openTab();
  await expect(api.get('/v1/devices')).rejects.toMatchObject({ status, code });
});

test('an empty answer is null', async () => {
  vi.stubGlobal('fetch', async () => new Response(null, { status: 204 }));
  const { api } = await openTab();
  expect(await api.delete('/v1/devices/1')).toBeNull();
});

test('every error has a sentence for people', async () => {
  const { ApiError } = await openTab();
  const { sentence } = await import('../../src/words/errors.js');
  expect(sentence(new ApiError(0, 'unreachable'))).toContain('cannot be reached');
  expect(sentence(new ApiError(409, 'handle_taken', 'this handle is taken'))).toBe(
    'This handle is taken.',
  );
  expect(sentence(new TypeError('x is undefined'))).not.toContain('undefined');
});
