/**
 * Interactive transactions: start, commit, rollback. The engine keeps them and ends those that
 * run too long; what it does not do is give up waiting for a connection, so that is done here.
 * Called by http-server.js.
 */
import { thrownError } from './answers.js';
import { KnownError } from './errors.js';

/**
 * @typedef {import('./adapter.js').Adapter} Adapter
 * @typedef {import('./engine.js').Engine} Engine
 * @typedef {import('./errors.js').UserFacingError} UserFacingError
 *
 * @typedef {{ status: number, body: object }} Outcome the native engine's HTTP status and body
 */

export class Transactions {
  /**
   * @param {Engine} engine
   * @param {Adapter} adapter
   */
  constructor(engine, adapter) {
    this.engine = engine;
    this.adapter = adapter;
  }

  /**
   * @param {string} body JSON: `{timeout, max_wait, isolation_level?}`, milliseconds
   * @returns {Promise<Outcome>} with the transaction's `id`
   */
  async start(body) {
    const { max_wait: maxWait } = JSON.parse(body);
    const started = this.#call(() => this.engine.startTransaction(body, '{}'));
    const outcome = await Promise.race([started, after(maxWait)]);
    if (outcome) return outcome;
    void started.then(({ status, body: late }) => {
      if (status === 200 && 'id' in late) return this.rollback(String(late.id));
      return undefined;
    });
    const reason = 'Unable to start a transaction in the given time.';
    return failure(
      new KnownError('P2028', `Transaction API error: ${reason}`, { error: reason }).userFacing(),
    );
  }

  /** @param {string} id */
  async commit(id) {
    if (!isTransactionId(id)) return failure(transactionNotFound().userFacing());
    return this.#call(() => this.engine.commitTransaction(id, '{}'));
  }

  /** @param {string} id */
  async rollback(id) {
    if (!isTransactionId(id)) return failure(transactionNotFound().userFacing());
    return this.#call(() => this.engine.rollbackTransaction(id, '{}'));
  }

  /**
   * @param {() => Promise<string>} call
   * @returns {Promise<Outcome>}
   */
  async #call(call) {
    try {
      const answer = JSON.parse((await call()) || '{}');
      return 'error_code' in answer ? failure(answer) : { status: 200, body: answer };
    } catch (error) {
      return failure(thrownError(error, this.adapter));
    }
  }
}

/**
 * The engine breaks on an id that is too short to be one of its own.
 *
 * @param {string} id
 */
export function isTransactionId(id) {
  return /^[a-z0-9]{24,}$/.test(id);
}

export function transactionNotFound() {
  const reason =
    'Transaction not found. Transaction ID is invalid, refers to an old closed transaction ' +
    "Prisma doesn't have information about anymore, or was obtained before disconnecting.";
  return new KnownError('P2028', `Transaction API error: ${reason}`, { error: reason });
}

/**
 * @param {UserFacingError} problem
 * @returns {Outcome}
 */
function failure(problem) {
  /** @type {[RegExp, number][]} */
  const statuses = [
    [/Unable to start a transaction in the given time/, 504],
    [/Transaction not found|no longer available|Transaction ID is invalid/, 404],
    [/already closed/, 422],
  ];
  const status = statuses.find(([pattern]) => pattern.test(problem.message))?.[1] ?? 500;
  return { status, body: { ...problem, meta: problem.meta ?? {} } };
}

/**
 * @param {number} milliseconds
 * @returns {Promise<undefined>}
 */
function after(milliseconds) {
  return new Promise((resolve) => {
    setTimeout(() => resolve(undefined), milliseconds);
  });
}
