/**
 * Cuts JSON text without reading the values in it, so that they pass through as written: a
 * 64-bit integer keeps its digits and a float that happens to be whole stays a float.
 * Used by translate.js and raw-rows.js, on JSON without white space, as the engine writes it.
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
