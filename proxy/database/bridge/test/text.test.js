/** json-text.js and raw-rows.js: cutting JSON without reading it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkDocument, elements, endOfString } from '../src/json-text.js';
import { typedRows } from '../src/raw-rows.js';

test('a string ends at its first quote that is not escaped', () => {
  for (const text of ['', 'a', '"', '\\', '\\"', '\\\\', ' "]}, ']) {
    const quoted = JSON.stringify(text);
    assert.equal(endOfString(`x${quoted}:"rest"`, 1), 1 + quoted.length);
  }
  assert.throws(() => endOfString('"never', 0), SyntaxError);
});

test('elements of an array', () => {
  assert.deepEqual(elements('[]'), []);
  assert.deepEqual(elements('[1.0]'), ['1.0']);
  assert.deepEqual(elements(String.raw`[[1,2],{"a":[",]"]},"\"],[",null]`), [
    '[1,2]',
    '{"a":[",]"]}',
    String.raw`"\"],["`,
    'null',
  ]);
});

test('rows carry their types', () => {
  assert.equal(typedRows('{"columns":["a"],"types":[],"rows":[]}'), '[]');
  assert.equal(
    typedRows('{"columns":["a","b\\"","c"],"types":["double","bigint-array","int"],"rows":[[1.0,["9",null],null]]}'),
    '[{"a":{"prisma__type":"double","prisma__value":1.0},' +
      '"b\\"":{"prisma__type":"array","prisma__value":[{"prisma__type":"bigint","prisma__value":"9"},' +
      '{"prisma__type":"null","prisma__value":null}]},' +
      '"c":{"prisma__type":"null","prisma__value":null}}]',
  );
});

test('a column may be called rows', () => {
  assert.equal(
    typedRows('{"columns":[",\\"rows\\":[["],"types":["int"],"rows":[[1]]}'),
    '[{",\\"rows\\":[[":{"prisma__type":"int","prisma__value":1}}]',
  );
});

test('documents that the engine cannot read are refused', () => {
  for (const text of ['', '{', 'NaN', '[1e999]', '-1e400', '9'.repeat(400), '"\\ud800"', '{"\\udc00":1}']) {
    assert.throws(() => checkDocument(text), SyntaxError, text);
  }
  assert.throws(() => checkDocument('['.repeat(128) + ']'.repeat(128)), /deeper/);
  for (const text of ['1', '"1e999"', '"\\ud83d\\ude00"', '"\\\\ud800"', '[1e308]', '['.repeat(127) + ']'.repeat(127)]) {
    checkDocument(text);
  }
});
