import { describe, expect, test } from 'vitest';
import { CLOSES, isSignedOut } from '../../client/closes.js';
import { deviceName, osInfo } from '../../src/services/thisDevice.js';
import { deviceKind, deviceTitle } from '../../src/words/devices.js';
import { chartPath, latencyWords, summary } from '../../src/words/latency.js';
import { actionWords, lossWords, statusWords } from '../../src/words/status.js';
import { ago, clockTime, duration, fullTime, momentTime } from '../../src/words/time.js';

const LINUX = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)';

describe('this device', () => {
  test.each([
    [`${LINUX} Chrome/156.0 Safari/537.36`, 'Chrome on Linux'],
    [`${LINUX} Chrome/156.0 Safari/537.36 Edg/156.0`, 'Edge on Linux'],
    ['Mozilla/5.0 (Windows NT 10.0; rv:150.0) Gecko/20100101 Firefox/150.0', 'Firefox on Windows'],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1',
      'Safari on iPhone',
    ],
    ['Mozilla/5.0 (Linux; Android 16; Pixel 9) Chrome/156.0 Mobile', 'Chrome on Android'],
    ['curl/8.0', 'Browser'],
  ])('%s is called %s', (agent, name) => {
    expect(deviceName(agent)).toBe(name);
  });

  test('an unknown system is none', () => {
    expect(osInfo('curl/8.0')).toBeNull();
  });
});

describe('devices', () => {
  test('a browser on a phone looks like a phone', () => {
    expect(deviceKind('web', 'Android')).toEqual({ kind: 'phone', words: 'Browser' });
    expect(deviceKind('web', 'Linux').kind).toBe('browser');
  });

  test('one of an unknown type without a name still has a title', () => {
    expect(deviceTitle({ id: 7, device_type: 'unknown' })).toBe('Device 7');
  });

  test('two of one name are told apart by their numbers', () => {
    const named = (id, device_name) => ({ id, device_type: 'web', device_name });
    const all = [named(1, 'Chrome on Linux'), named(2, 'Chrome on Linux'), named(3, 'Desk')];
    expect(all.map((one) => deviceTitle(one, all))).toEqual([
      'Chrome on Linux (1)',
      'Chrome on Linux (2)',
      'Desk',
    ]);
  });
});

describe('the state of the connection', () => {
  const now = 1_000_000;

  test.each([
    ['connected', {}, 'on', 'Connected'],
    ['catching-up', {}, 'busy', 'Catching up on what was missed'],
    ['connecting', {}, 'busy', 'Connecting…'],
    ['connecting', { attempts: 2 }, 'busy', 'Reconnecting…'],
    ['disconnected', { retryAt: now + 4100 }, 'bad', 'Connection lost, next try in 5 s'],
    ['disconnected', { retryAt: now - 1 }, 'bad', 'Connection lost, trying again'],
    [
      'disconnected',
      { reason: 'shutting_down', retryAt: now + 900 },
      'bad',
      'The server is restarting, next try in 1 s',
    ],
    ['disconnected', { reason: 'replaced' }, 'off', 'Closed: this tab was opened a second time'],
    ['disconnected', {}, 'off', 'Not connected'],
    ['signed-out', { reason: 'revoked' }, 'off', 'Signed out'],
  ])('%s with %o is %s: %s', (status, detail, tone, label) => {
    expect(statusWords({ status, detail, now })).toEqual({ tone, label });
  });

  test.each([
    ['connected', {}, 'Go offline'],
    ['catching-up', {}, 'Go offline'],
    ['connecting', { offline: true }, 'Connecting…'],
    ['disconnected', { offline: true }, 'Go online'],
    ['disconnected', {}, 'Connect now'],
  ])('while %s %o the button says %s', (status, more, words) => {
    expect(actionWords({ status, ...more })).toBe(words);
  });

  test.each([
    ['too_many', 'too many connections', 'closes the one that was silent for longest'],
    ['replaced', 'opened a second time', 'goes on there'],
    ['abuse', 'did not accept', 'Reload'],
    ['of_a_newer_server', 'Closed by the server', ''],
  ])('closed for good with %s it says why, and what to do', (reason, why, advice) => {
    const detail = { reason, code: 1000, attempts: 0 };
    const words = lossWords({ status: 'disconnected', detail, now });
    expect(words.why).toContain(why);
    expect(words.advice).toContain(advice);
  });

  const others = CLOSES.filter(([, reason]) => !isSignedOut(reason));
  const known = [...others, [0, 'offline'], [0, 'unreachable'], [0, 'timeout'], [0, 'refused']];

  test.each(known)('%i %s has words of its own', (code, reason, reconnect = true) => {
    const retryAt = reconnect ? now + 900 : undefined;
    const detail = { code, reason, retryAt };
    const { label } = statusWords({ status: 'disconnected', detail, now });
    expect(label).not.toMatch(/^(Connection lost|Closed by the server|Not connected)/);
    const all = known.map(([code, reason]) => {
      return statusWords({ status: 'disconnected', detail: { code, reason, retryAt }, now }).label;
    });
    expect(all.filter((one) => one === label)).toHaveLength(1);
  });

  test('while the page tries by itself there is nothing to do', () => {
    const detail = { reason: 'unreachable', retryAt: now + 2000 };
    expect(lossWords({ status: 'disconnected', detail, now })).toEqual({
      why: 'The server cannot be reached, next try in 2 s.',
      advice: '',
    });
  });

  test('offline by choice is no fault', () => {
    const { tone } = statusWords({ status: 'disconnected', detail: {}, offline: true, now });
    expect(tone).toBe('off');
  });
});

describe('the latency', () => {
  const samples = [3, 1, 30].map((ms, at) => ({ at, ms }));

  test('is said in words', () => {
    expect(latencyWords(samples)).toBe(
      'The last 3 round trips: latest 30 ms, median 3 ms, worst 30 ms',
    );
    expect(latencyWords([])).toBe('No round trip measured yet');
    expect(summary([{ at: 0, ms: 0 }])[0]).toEqual(['Latest', 'under 1 ms']);
  });

  test.each([
    [[7], '7 ms'],
    [[1, 9], '5 ms'],
    [[1, 2, 4, 30], '3 ms'],
    [[30, 4, 2, 1, 5], '4 ms'],
  ])('of %j has the median %s', (all, median) => {
    expect(summary(all.map((ms, at) => ({ at, ms })))[1]).toEqual(['Median', median]);
  });

  test('is drawn with the newest at the right edge, inside the picture', () => {
    const { line, area } = chartPath(samples, { width: 100, height: 50, slots: 11 });
    expect(line).toBe('M80.0 45.5L90.0 48.5L100.0 4.5');
    expect(area).toBe(`${line}L100 50L80.0 50Z`);
    expect(chartPath([samples[0]], { width: 100, height: 50, slots: 11 }).line).toBe('');
  });
});

describe('times', () => {
  test.each([
    [59_000, 'just now'],
    [60_000, '1 minute ago'],
    [7_200_000, '2 hours ago'],
    [86_400_000, 'yesterday'],
    [40 * 86_400_000, 'last month'],
  ])('%i ms back is %s', (back, words) => {
    expect(ago(1e12 - back, 1e12)).toBe(words);
  });

  test('durations name two units at most', () => {
    expect([5, 65, 7260].map(duration)).toEqual(['5 s', '1 min 5 s', '2 h 1 min']);
  });
});

describe('the time of a message', () => {
  const noon = new Date(2026, 4, 6, 12).getTime();

  test('of today is that of the clock', () => {
    expect(momentTime(noon, noon + 3_600_000)).toBe(clockTime(noon));
  });

  test.each([86_400_000, -86_400_000, 366 * 86_400_000])('of %i ms away has its day', (away) => {
    expect(momentTime(noon + away, noon)).toBe(fullTime(noon + away));
  });
});
