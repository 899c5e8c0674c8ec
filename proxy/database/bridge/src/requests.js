/**
 * Runs one request for queries: a single query or a batch, inside a transaction or not. Called by
 * http-server.js; every outcome is an answer, also an error.
 */
import { completeError, engineError } from './answers.js';
import { KnownError } from './errors.js';
import { isTransactionId, transactionNotFound } from './transactions.js';
import { translateAnswer, translateQuery } from './translate.js';

/**
 * @typedef {import('./adapter.js').Adapter} Adapter
 * @typedef {import('./engine.js').Engine} Engine
 * @typedef {import('./schema.js').Schema} Schema
 * @typedef {import('./translate.js').Translated} Translated
 *
 * @typedef {{ query: string } | { batch: { query: string }[], transaction?: boolean, isolation_level?: string }} Request
 */

export class Requests {
  /**
   * @param {Engine} engine
   * @param {Adapter} adapter
   * @param {Schema} schema
   */
  constructor(engine, adapter, schema) {
    this.engine = engine;
    this.adapter = adapter;
    this.schema = schema;
  }

  /**
   * @param {string} body JSON
   * @param {string | undefined} transactionId
   * @returns {Promise<string>} JSON: `data`, `batchResult` or `errors`
   */
  async run(body, transactionId) {
    if (transactionId !== undefined && !isTransactionId(transactionId)) {
      return errors([engineError(transactionNotFound())]);
    }
    try {
      /** @type {Request} */
      const request = JSON.parse(body);
      return await ('batch' in request
        ? this.#batch(request, transactionId)
        : this.#single(request.query, transactionId));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return errors([engineError(new KnownError('P2009', error.message))]);
    }
  }

  /**
   * @param {string} query
   * @param {string | undefined} transactionId
   */
  async #single(query, transactionId) {
    const translated = translateQuery(query, this.schema);
    const answer = await this.#ask(translated.json, transactionId);
    return this.#withoutErrors(answer) ?? translateAnswer(answer, translated);
  }

  /**
   * @param {Extract<Request, { batch: unknown }>} request
   * @param {string | undefined} transactionId
   */
  async #batch({ batch, transaction, isolation_level }, transactionId) {
    const translated = batch.map(({ query }) => translateQuery(query, this.schema));
    const options = JSON.stringify({ isolationLevel: isolation_level });
    const json =
      `{"batch":[${translated.map((query) => query.json).join(',')}]` +
      `${transaction ? `,"transaction":${options}` : ''}}`;
    const answer = await this.#ask(json, transactionId);
    return this.#withoutErrors(answer) ?? answer;
  }

  /**
   * @param {string} json
   * @param {string | undefined} transactionId
   * @returns {Promise<string>}
   * @throws {SyntaxError} when the engine could not even read the request
   */
  async #ask(json, transactionId) {
    try {
      return await this.engine.query(json, '{}', transactionId);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      throw new SyntaxError(`Failed to parse the query: ${/** @type {Error} */ (error).message}`);
    }
  }

  /**
   * @param {string} answer
   * @returns {string | undefined} the answer with its errors completed, if it is one of errors
   */
  #withoutErrors(answer) {
    if (!answer.startsWith('{"errors"')) return undefined;
    const answered = JSON.parse(answer);
    return errors(
      answered.errors.map((/** @type {import('./answers.js').EngineError} */ error) =>
        completeError(error, this.adapter),
      ),
    );
  }
}

/** @param {import('./answers.js').EngineError[]} list */
function errors(list) {
  return JSON.stringify({ errors: list });
}
