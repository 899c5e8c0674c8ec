/**
 * Rows of raw queries. The engine answers with a table, prisma-client-py 0.11 expects what engines
 * of its time answered: a list of rows in which every value carries its type. Used by translate.js.
 */
import { elements } from './json-text.js';

/**
 * @param {string} table `{"columns":["a"],"types":["int"],"rows":[[1]]}`
 * @returns {string} `[{"a":{"prisma__type":"int","prisma__value":1}}]`
 */
export function typedRows(table) {
  const rowsAt = table.indexOf(',"rows":[[');
  if (rowsAt < 0) return '[]';
  /** @type {{ columns: string[], types: string[] }} */
  const { columns, types } = JSON.parse(`${table.slice(0, rowsAt)}}`);
  const rows = elements(table.slice(rowsAt + ',"rows":'.length, -1)).map((row) => {
    const values = elements(row).map(
      (value, column) => `${JSON.stringify(columns[column])}:${typed(value, types[column] ?? 'string')}`,
    );
    return `{${values.join(',')}}`;
  });
  return `[${rows.join(',')}]`;
}

/**
 * @param {string} value
 * @param {string} type the engine's name for it; a list's is `int-array`
 * @returns {string}
 */
function typed(value, type) {
  if (value === 'null') return '{"prisma__type":"null","prisma__value":null}';
  if (!type.endsWith('-array')) return `{"prisma__type":"${type}","prisma__value":${value}}`;
  const element = type.slice(0, -'-array'.length);
  const list = elements(value).map((item) => typed(item, element));
  return `{"prisma__type":"array","prisma__value":[${list.join(',')}]}`;
}
