/**
 * Cuts JSON text without reading the values in it, so that they pass through as written: a
 * 64-bit integer keeps its digits and a float that happens to be whole stays a float. Used by
 * translate.js and raw-rows.js, on JSON without white space, as the engine writes it.
 */

/**
 * @param {string} json
 * @param {number} start index of a string's opening quote
 * @returns {number} index behind its closing quote
 */
export function endOfString(json, start) {
  for (let at = json.indexOf('"', start + 1); at >= 0; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json[at - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return at + 1;
  }
  throw new SyntaxError('The engine answered with a string that does not end.');
}

/**
 * @param {string} json an array
 * @returns {string[]} the text of each of its elements
 */
export function elements(json) {
  /** @type {string[]} */
  const found = [];
  let depth = 0;
  let start = 1;
  for (let at = 0; at < json.length; at += 1) {
    switch (json[at]) {
      case '"':
        at = endOfString(json, at) - 1;
        break;
      case '[':
      case '{':
        depth += 1;
        break;
      case ']':
      case '}':
        depth -= 1;
        break;
      case ',':
        if (depth === 1) {
          found.push(json.slice(start, at));
          start = at + 1;
        }
    }
  }
  if (start < json.length - 1) found.push(json.slice(start, -1));
  return found;
}

const DEEPEST = 127;
/** Half a surrogate pair, or a number that may be too large for a double. */
const SUSPICIOUS = /\\u[dD][89a-fA-F]|[eE]\+?\d{3}|\d{309}/;

/**
 * Whether the engine can read a document. It breaks for good on one that it cannot, so nothing
 * gets to it unchecked.
 *
 * @param {string} json
 * @throws {SyntaxError}
 */
export function checkDocument(json) {
  JSON.parse(json, SUSPICIOUS.test(json) ? checkValue : undefined);
  if (depthOf(json) > DEEPEST) throw new SyntaxError(`JSON is nested deeper than ${DEEPEST} levels`);
}

/**
 * @param {string} key
 * @param {unknown} value
 */
function checkValue(key, value) {
  if (!key.isWellFormed() || (typeof value === 'string' && !value.isWellFormed())) {
    throw new SyntaxError('JSON holds half a surrogate pair');
  }
  if (value === Infinity || value === -Infinity) throw new SyntaxError('JSON holds a number out of range');
  return value;
}

/** @param {string} json */
function depthOf(json) {
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < json.length; at += 1) {
    const character = json[at];
    if (character === '"') at = endOfString(json, at) - 1;
    else if (character === '[' || character === '{') deepest = Math.max(deepest, (depth += 1));
    else if (character === ']' || character === '}') depth -= 1;
  }
  return deepest;
}
