/**
 * Reads JSON text and says where it is wrong, in words and with the line. `JSON.parse` words its
 * errors differently in each browser, some without a place, and changes wide integers in silence.
 */

/** The server can write 254 levels, and one is the message around the payload. */
const MAX_DEPTH = 253;

const LONE_SURROGATE = /\p{Surrogate}/u;
const SPACE = /[ \t\r\n]/;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
// Control characters are what JSON forbids in a text.
// eslint-disable-next-line no-control-regex
const STRING_PART = /[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const WORD = /true|false|null/y;

/**
 * @typedef {{line: number, column: number, text: string}} JsonFault
 * `line` and `column` count from 1.
 */

class Fault extends Error {
  /** @param {string} message @param {number} at */
  constructor(message, at) {
    super(message);
    this.at = at;
  }
}

class Reader {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.depth = 0;
  }

  skipSpace() {
    while (SPACE.test(this.text[this.at] ?? '')) this.at += 1;
  }

  /** @param {RegExp} pattern sticky; @returns {RegExpExecArray | null} */
  take(pattern) {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match) this.at += match[0].length;
    return match;
  }

  /** @param {string} message @param {number} [at] @returns {never} */
  fail(message, at = this.at) {
    throw new Fault(message, at);
  }

  document() {
    this.value();
    this.skipSpace();
    if (this.at < this.text.length) this.fail('something follows after the end of the value');
  }

  value() {
    this.skipSpace();
    const next = this.text[this.at];
    if (next === undefined) this.fail('a value is missing here');
    else if (next === '{') this.nested(() => this.members());
    else if (next === '[') this.nested(() => this.elements());
    else if (next === '"') this.string();
    else if (/[-\d]/.test(next)) this.number();
    else if (!this.take(WORD)) this.fail(notAValue(next));
  }

  /** @param {() => void} read */
  nested(read) {
    if (this.depth === MAX_DEPTH) this.fail(`nested more than ${MAX_DEPTH} deep`);
    this.depth += 1;
    this.at += 1;
    read();
    this.depth -= 1;
  }

  members() {
    if (this.ends('}')) return;
    do {
      this.skipSpace();
      if (this.text[this.at] === '}') this.fail('a comma before } is one too many');
      if (this.text[this.at] !== '"') this.fail('a name in double quotes is missing here');
      this.string();
      this.skipSpace();
      if (this.text[this.at] !== ':') this.fail('a colon is missing after the name');
      this.at += 1;
      this.value();
    } while (this.goesOn('}'));
  }

  elements() {
    if (this.ends(']')) return;
    do {
      this.skipSpace();
      if (this.text[this.at] === ']') this.fail('a comma before ] is one too many');
      this.value();
    } while (this.goesOn(']'));
  }

  /** @param {string} closing */
  ends(closing) {
    this.skipSpace();
    const ended = this.text[this.at] === closing;
    if (ended) this.at += 1;
    return ended;
  }

  /** @param {string} closing */
  goesOn(closing) {
    if (this.ends(closing)) return false;
    if (this.text[this.at] !== ',') this.fail(`a comma or ${closing} is missing here`);
    this.at += 1;
    return true;
  }

  string() {
    const start = this.at;
    this.at += 1;
    while (this.take(STRING_PART));
    const next = this.text[this.at];
    if (next === undefined || next === '\n') this.fail('this text has no closing quote', start);
    if (next === '\\') this.fail('a backslash here must be written twice');
    if (next !== '"') this.fail('a line break or tab in a text is written as \\n or \\t');
    this.at += 1;
    const read = JSON.parse(this.text.slice(start, this.at));
    if (LONE_SURROGATE.test(read)) this.fail('half of a surrogate pair', start);
  }

  number() {
    const start = this.at;
    const match = this.take(NUMBER);
    if (!match) this.fail('a number needs a digit here', start + 1);
    if (/[\d.]/.test(this.text[this.at] ?? '')) this.fail('this is not how a number is written');
    const whole = match[1] === undefined && match[2] === undefined;
    if (whole && !Number.isSafeInteger(Number(match[0])))
      this.fail('a browser would change this number: write it as text', start);
    if (!Number.isFinite(Number(match[0]))) this.fail('this number is too large', start);
  }
}

/** @param {string} next */
function notAValue(next) {
  if (next === "'") return 'texts are in double quotes';
  if (next === '/' || next === '#') return 'JSON has no comments';
  return 'this is no JSON value: texts are in double quotes';
}

/**
 * Reads a JSON text; blank counts as null.
 *
 * @param {string} text
 * @returns {{value: unknown, fault?: undefined} | {value?: undefined, fault: JsonFault}}
 */
export function readJson(text) {
  if (text.trim() === '') return { value: null };
  try {
    new Reader(text).document();
  } catch (error) {
    if (error instanceof Fault) return { fault: placed(error, text) };
    throw error;
  }
  return { value: JSON.parse(text) };
}

/**
 * @param {Fault} fault
 * @param {string} text
 * @returns {JsonFault}
 */
function placed(fault, text) {
  const before = text.slice(0, fault.at).split('\n');
  const column = /** @type {string} */ (before.at(-1)).length + 1;
  return { line: before.length, column, text: fault.message };
}
