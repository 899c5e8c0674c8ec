/**
 * Errors as the native engine words them in its answers. prisma-client-py picks its exception
 * by them; it stumbles over a `meta` that is null, so there always is one.
 */
import { KnownError } from './errors.js';

/**
 * @typedef {import('./adapter.js').Adapter} Adapter
 * @typedef {import('./errors.js').UserFacingError} UserFacingError
 *
 * @typedef {object} EngineError
 * @property {string} error
 * @property {UserFacingError} user_facing_error
 */

/** Prisma's code for "Error in external connector", which stands for one of the adapter's errors. */
const EXTERNAL = 'P2036';

/**
 * @param {KnownError} problem
 * @returns {EngineError}
 */
export function engineError(problem) {
  return { error: problem.message, user_facing_error: problem.userFacing() };
}

/**
 * Puts what really happened in the place of the adapter's error numbers.
 *
 * @param {EngineError} answer as the WebAssembly engine gave it
 * @param {Adapter} adapter
 * @returns {EngineError}
 */
export function completeError(answer, adapter) {
  const problem = answer.user_facing_error;
  if (problem.error_code === EXTERNAL) {
    const known = adapter.takeError(Number(problem.meta?.['id']));
    if (known) return engineError(known);
  }
  return { ...answer, user_facing_error: { ...problem, meta: problem.meta ?? {} } };
}

/**
 * @param {unknown} thrown by one of the engine's calls
 * @param {Adapter} adapter
 * @returns {UserFacingError}
 */
export function thrownError(thrown, adapter) {
  const { message } = /** @type {Error} */ (thrown);
  /** @type {UserFacingError} */
  let problem;
  try {
    problem = JSON.parse(message);
  } catch {
    throw thrown;
  }
  return completeError({ error: problem.message, user_facing_error: problem }, adapter).user_facing_error;
}
