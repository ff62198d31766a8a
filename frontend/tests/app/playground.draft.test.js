import { describe, expect, it } from 'vitest';
import { emptyDraft, judge } from '../../src/components/playground/draft.js';

/** @param {Partial<import('../../src/components/playground/draft.js').Draft>} change */
function judged(change) {
  return judge({ ...emptyDraft(), ...change });
}

describe('a draft', () => {
  it('can be sent as it is at first', () => {
    expect(judge(emptyDraft())).toEqual({
      faults: {},
      parcel: { to: 'others', store: 'none', type: 'note.text', payload: { text: 'hello' } },
    });
  });

  it('goes to a device by its number', () => {
    expect(judged({ to: '7' }).parcel?.to).toBe(7);
    expect(judged({ to: '' }).faults.to).toBe('Choose who gets it.');
  });

  it('takes key and ttl along only with the store that has them', () => {
    const filled = { key: 'volume', ttl: '60' };
    expect(judged({ ...filled, store: 'none' }).parcel).not.toHaveProperty('ttl');
    expect(judged({ ...filled, store: 'log' }).parcel).not.toHaveProperty('key');
    expect(judged({ ...filled, store: 'log' }).parcel).toMatchObject({ ttl: 60 });
    expect(judged({ ...filled, store: 'latest' }).parcel).toMatchObject({ key: 'volume', ttl: 60 });
  });

  it.each([
    ['', /needs a type/],
    ['Note.text', /Only a–z/],
    ['note..text', /Only a–z/],
    ['note.', /Only a–z/],
    ['note', /with a dot/],
    ['ping', /server’s own/],
    ['device.send', /server’s own/],
    ['presence.watch', /server’s own/],
    ['connected.x', /server’s own/],
    ['notification.new', /reserved/],
    ['sync.x', /reserved/],
    [`a.${'b'.repeat(127)}`, /At most 128/],
  ])('of the type %j is refused in words', (type, words) => {
    const { faults, parcel } = judged({ type });
    expect(faults.type).toMatch(words);
    expect(parcel).toBeUndefined();
  });

  it('of latest needs a key of at most 128 characters, however many units they take', () => {
    expect(judged({ store: 'latest', key: '' }).faults.key).toMatch(/Give it a key/);
    expect(judged({ store: 'latest', key: '😀'.repeat(128) }).faults).toEqual({});
    expect(judged({ store: 'latest', key: '😀'.repeat(129) }).faults.key).toMatch(/At most 128/);
  });

  it('that deletes a value has its key, and neither payload nor ttl, whatever they hold', () => {
    const filled = { store: /** @type {const} */ ('delete'), ttl: 'x', payload: '{' };
    expect(judged({ ...filled, key: '' }).faults).toEqual({ key: expect.any(String) });
    expect(judged({ ...filled, key: 'volume' }).parcel).toEqual({
      to: 'others',
      store: 'latest',
      delete: true,
      type: 'note.text',
      payload: null,
      key: 'volume',
    });
  });

  it.each(['0', '-1', '1.5', 'x', '31622401'])('refuses the lifetime %j', (ttl) => {
    expect(judged({ store: 'log', ttl }).faults.ttl).toMatch(/whole number of seconds/);
  });

  it('tells the line at which the payload is no JSON', () => {
    expect(judged({ payload: '{\n  "a": 1,\n}' }).faults.payload).toBe(
      'Line 3: a comma before } is one too many.',
    );
  });

  it('counts the bytes of the payload, not the characters', () => {
    expect(judged({ payload: `"${'é'.repeat(32_000)}"` }).faults).toEqual({});
    expect(judged({ payload: `"${'é'.repeat(33_000)}"` }).faults.payload).toMatch(
      /Too large: 66002 bytes/,
    );
  });

  it('may be as large as the server takes', () => {
    const draft = { ...emptyDraft(), payload: `"${'é'.repeat(33_000)}"` };
    expect(judge(draft, 131_072).faults).toEqual({});
    expect(judge(emptyDraft(), 1030).faults.payload).toMatch(/and 6 fit/);
  });
});
