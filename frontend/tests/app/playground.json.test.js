import { describe, expect, it } from 'vitest';
import { readJson } from '../../src/components/playground/jsonText.js';

/** @param {string} text */
function faultOf(text) {
  const { fault } = readJson(text);
  return fault && `${fault.line}:${fault.column} ${fault.text}`;
}

describe('readJson', () => {
  it.each([
    ['{"text": "hello", "list": [1, 2.5, -3e2, true, null]}'],
    ['"just a text"'],
    ['[]'],
    [' {} '],
    ['0'],
    ['"\\u00e9\\n\\ud83d\\ude00"'],
  ])('reads %s as JSON.parse does', (text) => {
    expect(readJson(text)).toEqual({ value: JSON.parse(text) });
  });

  it('takes blank text for null', () => {
    expect(readJson(' \n')).toEqual({ value: null });
  });

  it.each([
    ['{"a": 1,}', '1:9 a comma before } is one too many'],
    ['[1,\n 2,\n]', '3:1 a comma before ] is one too many'],
    ['{"a": 1\n"b": 2}', '2:1 a comma or } is missing here'],
    ['{a: 1}', '1:2 a name in double quotes is missing here'],
    ['{"a" 1}', '1:6 a colon is missing after the name'],
    ['{"a": }', '1:7 this is no JSON value: texts are in double quotes'],
    ['{"a":', '1:6 a value is missing here'],
    ["'a'", '1:1 texts are in double quotes'],
    ['"a', '1:1 this text has no closing quote'],
    ['"C:\\dir"', '1:4 a backslash here must be written twice'],
    ['"a\tb"', '1:3 a line break or tab in a text is written as \\n or \\t'],
    ['1 // one', '1:3 something follows after the end of the value'],
    ['// one', '1:1 JSON has no comments'],
    ['01', '1:2 this is not how a number is written'],
    ['-', '1:2 a number needs a digit here'],
    ['NaN', '1:1 this is no JSON value: texts are in double quotes'],
  ])('says where %s is wrong', (text, expected) => {
    expect(faultOf(text)).toBe(expected);
  });

  it('finds fault wherever JSON.parse does, and nowhere else', () => {
    const base = '{"a": [1, -2.5e3, "x\\u00e9", true, null], "b": {"c": ""}}';
    for (let at = 0; at < base.length; at += 1) {
      for (const change of ['', ',', '"', '}', '0', '\\', ' ']) {
        const text = base.slice(0, at) + change + base.slice(at + 1);
        expect([text, faultOf(text) === undefined]).toEqual([text, parses(text)]);
      }
    }
  });

  it('finds integers that a browser would change', () => {
    expect(readJson('9007199254740991')).toEqual({ value: 9007199254740991 });
    expect(faultOf('{"id": 9007199254740993}')).toBe(
      '1:8 a browser would change this number: write it as text',
    );
    expect(faultOf('1e999')).toBe('1:1 this number is too large');
  });

  it('finds what the server refuses though JSON.parse takes it', () => {
    expect(faultOf('"\\ud83d"')).toBe('1:1 half of a surrogate pair');
    expect(faultOf('['.repeat(254) + ']'.repeat(254))).toBe('1:254 nested more than 253 deep');
    expect(faultOf('['.repeat(253) + ']'.repeat(253))).toBeUndefined();
  });
});

/** @param {string} text */
function parses(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
