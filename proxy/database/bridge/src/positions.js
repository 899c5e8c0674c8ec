/**
 * Which values of a query are JSON documents. prisma-client-py writes a document as a string; in
 * the engine's JSON protocol a plain string in such a place would be a JSON *string*, so it has
 * to be tagged. What a string means depends on where it stands, and that is what this module
 * knows: a position tells for each key of an object in which position its value is.
 *
 * The grammar is that of Prisma's query arguments; `plain` is everything without JSON in it.
 *
 * @typedef {import('./schema.js').Schema} Schema
 * @typedef {import('./schema.js').Field} Field
 *
 * @typedef {{ document: boolean, at: (key: string, siblings: ReadonlySet<string>) => Position }} Position
 */

/** @type {Position} */
export const plain = { document: false, at: () => plain };

/** The document itself. @type {Position} */
const document = { document: true, at: () => plain };

/** `{equals: …, path: […], string_contains: "…"}`: only some operators take a document. @type {Position} */
const documentFilter = {
  document: true,
  at(key) {
    if (key === 'not') return documentFilter;
    return key === 'path' || key === 'mode' || key.startsWith('string_') ? plain : document;
  },
};

/** `{set: …, push: …}` of a list of documents. @type {Position} */
const documentWrite = { document: true, at: () => document };

const LOGIC = new Set(['AND', 'OR', 'NOT']);
const RELATION_FILTERS = new Set(['some', 'every', 'none', 'is', 'isNot']);

/**
 * The arguments of an operation on a model, or of an included relation.
 *
 * @param {Schema} schema
 * @param {string} model
 * @returns {Position}
 */
export function argumentsOf(schema, model) {
  return {
    document: false,
    at(key) {
      if (key === 'where' || key === 'having') return where(schema, model);
      return key === 'data' || key === 'create' || key === 'update' ? data(schema, model) : plain;
    },
  };
}

/**
 * @param {Schema} schema
 * @param {string} model
 * @returns {Position}
 */
function where(schema, model) {
  return {
    document: false,
    at(key) {
      if (LOGIC.has(key)) return where(schema, model);
      const field = schema.models.get(model)?.get(key);
      if (!field) return plain;
      if (field.type === 'Json') return documentFilter;
      return schema.models.has(field.type) ? relationFilter(schema, field) : plain;
    },
  };
}

/**
 * `{some: {…}}` of a list, `{is: {…}}` or directly the filter of a single record.
 *
 * @param {Schema} schema
 * @param {Field} field
 * @returns {Position}
 */
function relationFilter(schema, field) {
  const target = where(schema, field.type);
  return {
    document: false,
    at(key, siblings) {
      return RELATION_FILTERS.has(key) && !schema.models.get(field.type)?.has(key)
        ? target
        : target.at(key, siblings);
    },
  };
}

/**
 * @param {Schema} schema
 * @param {string} model
 * @returns {Position}
 */
function data(schema, model) {
  return {
    document: false,
    at(key) {
      const field = schema.models.get(model)?.get(key);
      if (!field) return plain;
      if (field.type === 'Json') return documentWrite;
      return schema.models.has(field.type) ? relationWrite(schema, field) : plain;
    },
  };
}

/**
 * `{create: …, connectOrCreate: …, update: …}` inside the data of another model.
 *
 * @param {Schema} schema
 * @param {Field} field
 * @returns {Position}
 */
function relationWrite(schema, field) {
  return {
    document: false,
    at(key) {
      switch (key) {
        case 'create':
          return data(schema, field.type);
        case 'update':
          return field.isList ? argumentsOf(schema, field.type) : singleUpdate(schema, field.type);
        case 'connectOrCreate':
        case 'upsert':
        case 'updateMany':
        case 'createMany':
          return argumentsOf(schema, field.type);
        default: // connect, disconnect, set, delete, deleteMany
          return where(schema, field.type);
      }
    },
  };
}

/**
 * The update of a single related record: the data, or `{where, data}` around it.
 *
 * @param {Schema} schema
 * @param {string} model
 * @returns {Position}
 */
function singleUpdate(schema, model) {
  return {
    document: false,
    at(key, siblings) {
      const wrapped = siblings.has('data') && !schema.models.get(model)?.has('data');
      return (wrapped ? argumentsOf(schema, model) : data(schema, model)).at(key, siblings);
    },
  };
}
