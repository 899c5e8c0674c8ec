/**
 * How Postgres' types reach the engine. Values arrive in Postgres' text form; for each type this
 * module names the engine's column type and turns the text into what the engine reads for it.
 * Types it does not know go through as text, arrays of them as arrays of text.
 */
import { parse as parseArray } from 'postgres-array';

/** The engine's column types; an array's is its element's plus 64. */
const INT32 = 0;
const INT64 = 1;
const FLOAT = 2;
const DOUBLE = 3;
const NUMERIC = 4;
const BOOLEAN = 5;
const CHARACTER = 6;
const TEXT = 7;
const DATE = 8;
const TIME = 9;
const DATETIME = 10;
const JSON_DOCUMENT = 11;
const BYTES = 13;
const UUID = 15;
const ARRAY = 64;

/**
 * @typedef {object} ColumnType
 * @property {number} engineType
 * @property {(text: string) => unknown} read
 * @property {RegExp | undefined} [unreadable] values for which the engine has no form
 */

/** @param {string} text */
const same = (text) => text;

/** @type {Record<number, (text: string) => unknown>} */
const READERS = {
  [INT32]: Number,
  [FLOAT]: Number,
  [DOUBLE]: Number,
  [BOOLEAN]: (text) => text === 't',
  [DATETIME]: readTimestamp,
  [BYTES]: readBytes,
};

const NOT_A_NUMBER = /NaN|Infinity/;
const NO_COMMON_DATE = /infinity|BC|\d{5}-/;
/** @type {Record<number, RegExp>} */
const UNREADABLE = {
  [FLOAT]: NOT_A_NUMBER,
  [DOUBLE]: NOT_A_NUMBER,
  [NUMERIC]: NOT_A_NUMBER,
  [DATE]: NO_COMMON_DATE,
  [DATETIME]: NO_COMMON_DATE,
};

/** Type and array type, by Postgres' object ids. @type {[number, number, number][]} */
const KNOWN = [
  [INT32, 21, 1005], // int2
  [INT32, 23, 1007], // int4
  [INT64, 20, 1016], // int8
  [INT64, 26, 1028], // oid
  [FLOAT, 700, 1021], // float4
  [DOUBLE, 701, 1022], // float8
  [NUMERIC, 1700, 1231], // numeric
  [BOOLEAN, 16, 1000], // bool
  [CHARACTER, 18, 1002], // "char"
  [TEXT, 19, 1003], // name
  [TEXT, 25, 1009], // text
  [TEXT, 1042, 1014], // char(n)
  [TEXT, 1043, 1015], // varchar
  [DATE, 1082, 1182], // date
  [TIME, 1083, 1183], // time
  [DATETIME, 1114, 1115], // timestamp
  [DATETIME, 1184, 1185], // timestamptz
  [JSON_DOCUMENT, 114, 199], // json
  [JSON_DOCUMENT, 3802, 3807], // jsonb
  [BYTES, 17, 1001], // bytea
  [UUID, 2950, 2951], // uuid
];

/** @type {Map<number, ColumnType>} */
const TYPES = new Map();
for (const [engineType, scalar, array] of KNOWN) {
  /** @type {ColumnType} */
  const type = { engineType, read: READERS[engineType] ?? same, unreadable: UNREADABLE[engineType] };
  TYPES.set(scalar, type);
  TYPES.set(array, arrayOf(type));
}

/** @type {ColumnType} */
export const textType = { engineType: TEXT, read: same };
export const textArrayType = arrayOf(textType);

/**
 * @param {number} oid
 * @returns {ColumnType | undefined} undefined for a type that not every Postgres has or few use
 */
export function columnType(oid) {
  return TYPES.get(oid);
}

/**
 * @param {ColumnType} element
 * @returns {ColumnType}
 */
function arrayOf({ engineType, read, unreadable }) {
  return { engineType: engineType + ARRAY, read: (text) => parseArray(text, read), unreadable };
}

/**
 * Turns a column's texts into what the engine reads. Where one of them has no form in the engine,
 * such as an infinite date, the whole column stays text.
 *
 * @param {unknown[][]} rows
 * @param {number} column
 * @param {ColumnType} type
 * @returns {number} the engine's column type
 */
export function readColumn(rows, column, type) {
  const { engineType, read } = rows.some((row) => type.unreadable?.test(String(row[column]))) ? asText(type) : type;
  for (const row of rows) {
    const text = row[column];
    if (text !== null) row[column] = read(/** @type {string} */ (text));
  }
  return engineType;
}

/** @param {ColumnType} type */
function asText({ engineType }) {
  return engineType >= ARRAY ? textArrayType : textType;
}

/**
 * `2024-05-06 07:08:09.123456+05:30` as the same moment in UTC, which is what the engine assumes.
 * Sessions begin in UTC, but a raw query may have changed that.
 *
 * @param {string} text
 * @returns {string}
 */
function readTimestamp(text) {
  const [, dateTime, sign, hours, minutes = '0', seconds = '0'] =
    /^(.*:.*?)([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?$/.exec(text) ?? [];
  if (!dateTime || !sign) return text;
  const offset = (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
  if (offset === 0) return dateTime;
  const [whole = '', fraction] = dateTime.split('.');
  const moment = new Date(`${whole.replace(' ', 'T')}Z`).getTime() - (sign === '+' ? offset : -offset);
  const utc = new Date(moment).toISOString().slice(0, 19).replace('T', ' ');
  return fraction === undefined ? utc : `${utc}.${fraction}`;
}

/**
 * @param {string} text `\xdeadbeef`
 * @returns {number[]}
 */
function readBytes(text) {
  return [...Buffer.from(text.slice(2), 'hex')];
}
