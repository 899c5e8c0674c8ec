/**
 * Reads the GraphQL text that prisma-client-py writes: one operation, one root field, no
 * variables, no fragments. The tree keeps number tokens as written, because a 64-bit integer
 * does not survive JavaScript's number type. Called by translate.js only.
 */
import { Kind, parse } from 'graphql/language/index.js';

/**
 * @typedef {import('graphql/language/index.js').FieldNode} FieldNode
 * @typedef {import('graphql/language/index.js').ValueNode} ValueNode
 */

/**
 * @param {string} text
 * @returns {FieldNode} the operation's root field
 * @throws {SyntaxError} when the text is no GraphQL, or not of that form
 */
export function parseOperation(text) {
  let document;
  try {
    document = parse(text, { noLocation: true });
  } catch (error) {
    throw new SyntaxError(`Failed to parse the query: ${/** @type {Error} */ (error).message}`);
  }
  const [operation, ...others] = document.definitions;
  if (operation?.kind !== Kind.OPERATION_DEFINITION || others.length > 0) {
    throw new SyntaxError('Failed to parse the query: expected exactly one operation.');
  }
  const [field, ...siblings] = operation.selectionSet.selections;
  if (field?.kind !== Kind.FIELD || siblings.length > 0) {
    throw new SyntaxError('Failed to parse the query: expected exactly one root field.');
  }
  return field;
}
