/**
 * Splits a text where it has what is looked for, without regard to case.
 *
 * @param {string} text
 * @param {string} needle blank finds nothing
 * @returns {{text: string, found: boolean}[]} in order; together they are the text
 */
export function marked(text, needle) {
  const low = text.toLowerCase();
  const sought = needle.trim().toLowerCase();
  // A few letters change their length with their case: then places in one are none in the other.
  if (!sought || low.length !== text.length) return [{ text, found: false }];
  const parts = [];
  let from = 0;
  for (let at = low.indexOf(sought); at >= 0; at = low.indexOf(sought, from)) {
    if (at > from) parts.push({ text: text.slice(from, at), found: false });
    from = at + sought.length;
    parts.push({ text: text.slice(at, from), found: true });
  }
  if (from < text.length) parts.push({ text: text.slice(from), found: false });
  return parts;
}

const PREVIEW = 160;

/**
 * The part of a long text that is worth a line: its begin, or around what is looked for.
 *
 * @param {string} text
 * @param {string} needle
 */
export function preview(text, needle) {
  if (text.length <= PREVIEW) return text;
  const sought = needle.trim().toLowerCase();
  const at = sought ? text.toLowerCase().indexOf(sought) : -1;
  const start = at > PREVIEW / 2 ? at - PREVIEW / 4 : 0;
  const end = start + PREVIEW;
  return `${start > 0 ? '…' : ''}${text.slice(start, end)}${end < text.length ? '…' : ''}`;
}
