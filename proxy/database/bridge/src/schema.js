/**
 * The few facts the bridge needs from a Prisma schema: where the database is, and which fields
 * of a model hold JSON or lead to another model. Everything else of the schema is the engine's.
 */

/**
 * @typedef {object} Field
 * @property {string} type scalar, enum or model name
 * @property {boolean} isList
 *
 * @typedef {Map<string, Field>} Model
 *
 * @typedef {object} Schema
 * @property {Map<string, Model>} models
 * @property {{ env: string } | { literal: string } | undefined} url
 */

const BLOCK = /^\s*(model|datasource)\s+(\w+)\s*\{([\s\S]*?)^\s*\}/gm;
const FIELD = /^\s*(\w+)\s+(\w+)(\[\])?/;
const URL_ENTRY = /^\s*url\s*=\s*(?:env\(\s*"([^"]+)"\s*\)|"([^"]+)")/m;

/**
 * @param {string} text a schema.prisma
 * @returns {Schema}
 */
export function parseSchema(text) {
  /** @type {Schema} */
  const schema = { models: new Map(), url: undefined };
  for (const [, kind, name, body] of text.matchAll(BLOCK)) {
    if (kind === 'model') {
      schema.models.set(/** @type {string} */ (name), parseModel(/** @type {string} */ (body)));
      continue;
    }
    const url = URL_ENTRY.exec(/** @type {string} */ (body));
    if (url?.[1]) schema.url = { env: url[1] };
    else if (url?.[2]) schema.url = { literal: url[2] };
  }
  return schema;
}

/**
 * @param {string} body the lines between the braces
 * @returns {Model}
 */
function parseModel(body) {
  /** @type {Model} */
  const fields = new Map();
  for (const line of body.split('\n')) {
    const [, name, type, list] = FIELD.exec(line) ?? [];
    if (name && type) fields.set(name, { type, isList: list !== undefined });
  }
  return fields;
}
