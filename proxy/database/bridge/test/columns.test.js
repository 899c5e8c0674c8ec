import assert from 'node:assert/strict';
import { test } from 'node:test';

import { columnType, readColumn, textType } from '../src/column-types.js';

const TIMESTAMPTZ = 1184;
const INT_ARRAY = 1007;
const NUMERIC = 1700;
const BYTEA = 17;

/**
 * @param {number} oid
 * @param {string | null} text
 */
function read(oid, text) {
  const rows = [[text]];
  const type = readColumn(rows, 0, columnType(oid) ?? textType);
  return { type, value: rows[0]?.[0] };
}

test('moments are read as UTC', () => {
  for (const [text, utc] of /** @type {const} */ ([
    ['2024-05-06 07:08:09+00', '2024-05-06 07:08:09'],
    ['2024-05-06 07:08:09.123456+05:30', '2024-05-06 01:38:09.123456'],
    ['2024-01-01 00:00:00.5-03', '2024-01-01 03:00:00.5'],
    ['1850-01-01 00:00:00+05:53:28', '1849-12-31 18:06:32'],
    ['2024-05-06 07:08:09.1', '2024-05-06 07:08:09.1'],
  ])) {
    assert.deepEqual(read(TIMESTAMPTZ, text), { type: 10, value: utc });
  }
});

test('values without a form in the engine leave the column text', () => {
  assert.deepEqual(read(TIMESTAMPTZ, 'infinity'), { type: 7, value: 'infinity' });
  assert.deepEqual(read(TIMESTAMPTZ, '0044-03-15 00:00:00+00 BC'), { type: 7, value: '0044-03-15 00:00:00+00 BC' });
  assert.deepEqual(read(NUMERIC, 'NaN'), { type: 7, value: 'NaN' });
  assert.deepEqual(read(1231, '{1,NaN}'), { type: 71, value: ['1', 'NaN'] });
});

test('lists, bytes, nulls', () => {
  assert.deepEqual(read(INT_ARRAY, '{1,NULL,-3}'), { type: 64, value: [1, null, -3] });
  assert.deepEqual(read(BYTEA, '\\x00ff'), { type: 13, value: [0, 255] });
  assert.deepEqual(read(BYTEA, null), { type: 13, value: null });
});
