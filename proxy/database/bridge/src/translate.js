/**
 * Between the two languages of the query engine: prisma-client-py asks in GraphQL text and
 * expects plain values, the WebAssembly engine takes its JSON protocol and answers with tagged
 * values. Called by requests.js for every query.
 *
 * Both directions work on text, so that numbers pass through digit by digit.
 */
import { Kind } from 'graphql/language/index.js';

import { parseOperation } from './graphql.js';
import { checkDocument, endOfString } from './json-text.js';
import { argumentsOf, plain } from './positions.js';
import { typedRows } from './raw-rows.js';

/**
 * @typedef {import('./graphql.js').FieldNode} FieldNode
 * @typedef {import('./graphql.js').ValueNode} ValueNode
 * @typedef {import('./positions.js').Position} Position
 * @typedef {import('./schema.js').Schema} Schema
 *
 * @typedef {object} Translated
 * @property {string} json the query in the JSON protocol
 * @property {string} operation the key under which the engine will answer, such as `findManyUser`
 * @property {string} alias the key under which the client wants the answer
 */

const RAW_ACTIONS = new Set(['queryRaw', 'executeRaw']);
const ACTIONS = [
  'aggregate',
  'createMany',
  'createOne',
  'deleteMany',
  'deleteOne',
  'findFirst',
  'findMany',
  'findUnique',
  'groupBy',
  'updateMany',
  'updateOne',
  'upsertOne',
];
const NULL_DOCUMENTS = new Set(['DbNull', 'JsonNull', 'AnyNull']);

/**
 * @param {string} text
 * @param {Schema} schema
 * @returns {Translated}
 * @throws {SyntaxError} when the text is no query this engine could run
 */
export function translateQuery(text, schema) {
  const field = parseOperation(text);
  const operation = field.name.value;
  const { action, model } = actionOf(operation, schema);
  const names = { operation, alias: field.alias?.value ?? operation };
  if (model === undefined) return { json: rawQuery(field, action), ...names };
  const json = query(field, argumentsOf(schema, model), schema, model);
  return { json: `{"modelName":"${model}","action":"${action}","query":${json}}`, ...names };
}

/**
 * @param {FieldNode} field
 * @param {string} action
 * @returns {string}
 */
function rawQuery(field, action) {
  // The engine breaks on a raw query without parameters; of two it takes the last.
  const args = `{"parameters":"[]",${object(field.arguments ?? [], plain).slice(1)}`;
  return `{"action":"${action}","query":{"arguments":${args},"selection":{}}}`;
}

/**
 * Splits `findUniqueUserOrThrow` into the action `findUniqueOrThrow` and the model `User`.
 *
 * @param {string} operation
 * @param {Schema} schema
 * @returns {{ action: string, model: string | undefined }}
 */
function actionOf(operation, schema) {
  if (RAW_ACTIONS.has(operation)) return { action: operation, model: undefined };
  for (const action of ACTIONS) {
    if (!operation.startsWith(action)) continue;
    const rest = operation.slice(action.length);
    if (schema.models.has(rest)) return { action, model: rest };
    const model = rest.replace(/OrThrow$/, '');
    if (schema.models.has(model)) return { action: `${action}OrThrow`, model };
  }
  throw new SyntaxError(`Cannot query field "${operation}": no such operation or model in the schema.`);
}

/**
 * @param {FieldNode} field
 * @param {Position} position where the field's arguments stand
 * @param {Schema} schema
 * @param {string | undefined} model what the field returns
 * @returns {string} `{"arguments": …, "selection": …}`
 */
function query(field, position, schema, model) {
  const args = object(field.arguments ?? [], position);
  const selected = (field.selectionSet?.selections ?? []).map((node) => {
    const child = /** @type {FieldNode} */ (node);
    const name = JSON.stringify(child.name.value);
    if (!child.selectionSet && !child.arguments?.length) return `${name}:true`;
    const target = model === undefined ? undefined : schema.models.get(model)?.get(child.name.value)?.type;
    const at = target === undefined ? plain : argumentsOf(schema, target);
    return `${name}:${query(child, at, schema, target)}`;
  });
  return `{"arguments":${args},"selection":{${selected.join(',')}}}`;
}

/**
 * @param {readonly { name: { value: string }, value: ValueNode }[]} entries
 * @param {Position} position
 * @returns {string}
 */
function object(entries, position) {
  const keys = new Set(entries.map((entry) => entry.name.value));
  const members = entries.map(
    ({ name, value: node }) => `${JSON.stringify(name.value)}:${value(node, position.at(name.value, keys))}`,
  );
  return `{${members.join(',')}}`;
}

/**
 * @param {ValueNode} node
 * @param {Position} position
 * @returns {string}
 */
function value(node, position) {
  switch (node.kind) {
    case Kind.STRING:
      return position.document ? jsonDocument(node.value) : JSON.stringify(node.value);
    case Kind.INT:
    case Kind.FLOAT:
      return node.value;
    case Kind.BOOLEAN:
      return String(node.value);
    case Kind.NULL:
      return 'null';
    case Kind.ENUM:
      return JSON.stringify(node.value);
    case Kind.LIST:
      return `[${node.values.map((item) => value(item, position)).join(',')}]`;
    case Kind.OBJECT:
      return object(node.fields, position);
    case Kind.VARIABLE:
      throw new SyntaxError('Failed to parse the query: variables are not supported.');
  }
}

/**
 * @param {string} text a JSON document, or the name of one of Prisma's three nulls
 * @returns {string}
 * @throws {SyntaxError}
 */
function jsonDocument(text) {
  const isName = NULL_DOCUMENTS.has(text);
  if (!isName) checkDocument(text);
  return `{"$type":"${isName ? 'Enum' : 'Json'}","value":${JSON.stringify(text)}}`;
}

/**
 * Makes the engine's answer to one query what the client expects: its own alias as the key, and
 * plain values. Rows of raw queries are never tagged: what looks like a tag there is the user's data.
 *
 * @param {string} answer `{"data":{"findManyUser":…}}`
 * @param {Translated} translated
 * @returns {string}
 */
export function translateAnswer(answer, { operation, alias }) {
  const head = `{"data":{"${operation}":`;
  if (!answer.startsWith(head)) return answer;
  const result = answer.slice(head.length, -2);
  return `{"data":{${JSON.stringify(alias)}:${operation === 'queryRaw' ? typedRows(result) : untag(result)}}}`;
}

const TAG = /\{"\$type":"\w+","value":(?=")/g;

/**
 * Replaces each `{"$type":"DateTime","value":"…"}` by its value. Text is safe to search: inside a
 * JSON string the quotes of such a sequence would be escaped.
 *
 * @param {string} json
 * @returns {string}
 */
export function untag(json) {
  let plainText = '';
  let done = 0;
  for (const match of json.matchAll(TAG)) {
    const start = match.index + match[0].length;
    const end = endOfString(json, start);
    plainText += json.slice(done, match.index) + json.slice(start, end);
    done = end + 1; // the tag's closing brace
  }
  return plainText + json.slice(done);
}
