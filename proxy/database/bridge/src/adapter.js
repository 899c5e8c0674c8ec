/**
 * The driver adapter: through it the engine reaches Postgres. Its shape is Prisma's
 * (@prisma/driver-adapter-utils 5.17); the engine writes BEGIN, COMMIT and ROLLBACK itself and
 * the adapter keeps the connection for it meanwhile. The engine calls an adapter's functions
 * without their object, which is why they are arrow functions.
 *
 * Failures that are not Postgres' own reach the engine as a number only; `takeError` gives what
 * stands behind the number, so that requests.js can report it.
 */
import { columnType, readColumn, textArrayType, textType } from './column-types.js';
import { KnownError, queryProblem } from './errors.js';

/**
 * @typedef {import('./errors.js').SqlError} SqlError
 * @typedef {import('./column-types.js').ColumnType} ColumnType
 * @typedef {import('./pool.js').Pool} Pool
 * @typedef {import('./metrics.js').Metrics} Metrics
 * @typedef {import('pg').PoolClient} PoolClient
 *
 * @typedef {{ sql: string, args: unknown[] }} Query
 * @typedef {{ columnNames: string[], columnTypes: number[], rows: unknown[][] }} ResultSet
 * @typedef {{ kind: 'GenericJs', id: number } | SqlError} AdapterError
 */

/**
 * @template T
 * @typedef {{ ok: true, value: T } | { ok: false, error: AdapterError }} Result
 */

/** Values come as Postgres' text; column-types.js reads them. */
const asText = { getTypeParser: () => (/** @type {unknown} */ text) => text };

/** Types that only this database knows, by object id. @type {Map<number, ColumnType>} */
const lookedUp = new Map();

export class Adapter {
  provider = 'postgres';
  adapterName = 'litellm-local-pg';
  /** @type {Map<number, KnownError>} */
  #errors = new Map();
  #lastError = 0;

  /**
   * @param {Pool} pool
   * @param {Metrics} metrics
   */
  constructor(pool, metrics) {
    this.pool = pool;
    this.metrics = metrics;
  }

  getConnectionInfo = () => ({ ok: true, value: { schemaName: this.pool.settings.schema } });

  /**
   * @param {Query} query
   * @returns {Promise<Result<ResultSet>>}
   */
  queryRaw = async (query) => this.#withConnection((connection) => connection.queryRaw(query));

  /**
   * @param {Query} query
   * @returns {Promise<Result<number>>}
   */
  executeRaw = async (query) => this.#withConnection((connection) => connection.executeRaw(query));

  /** @returns {Promise<Result<Connection>>} */
  startTransaction = async () => {
    try {
      return { ok: true, value: new Connection(this, await this.#acquire()) };
    } catch (error) {
      return this.fail(/** @type {KnownError | SqlError} */ (error));
    }
  };

  /**
   * @template T
   * @param {(connection: Connection) => Promise<Result<T>>} use
   * @returns {Promise<Result<T>>}
   */
  async #withConnection(use) {
    const connection = await this.startTransaction();
    if (!connection.ok) return connection;
    try {
      return await use(connection.value);
    } finally {
      connection.value.release();
    }
  }

  async #acquire() {
    const since = performance.now();
    try {
      return await this.pool.acquire();
    } finally {
      this.metrics.waited(performance.now() - since);
    }
  }

  /**
   * @param {KnownError | SqlError} problem
   * @returns {{ ok: false, error: AdapterError }}
   */
  fail(problem) {
    if (!(problem instanceof KnownError)) return { ok: false, error: problem };
    this.#lastError += 1;
    this.#errors.set(this.#lastError, problem);
    return { ok: false, error: { kind: 'GenericJs', id: this.#lastError } };
  }

  /**
   * @param {number} id
   * @returns {KnownError | undefined} once; it is forgotten then
   */
  takeError(id) {
    const error = this.#errors.get(id);
    this.#errors.delete(id);
    return error;
  }
}

/** One connection, held for a query or a transaction. */
class Connection {
  provider = 'postgres';
  adapterName = 'litellm-local-pg';
  options = { usePhantomQuery: false };
  #broken = false;
  #released = false;

  /**
   * @param {Adapter} adapter
   * @param {PoolClient} client
   */
  constructor(adapter, client) {
    this.adapter = adapter;
    this.client = client;
  }

  /**
   * @param {Query} query
   * @returns {Promise<Result<ResultSet>>}
   */
  queryRaw = async (query) =>
    this.#run(async () => {
      const { fields, rows } = await this.#query(query);
      const types = await this.#columnTypes(fields.map((field) => field.dataTypeID));
      const columnTypes = types.map((type, column) => readColumn(rows, column, type));
      return { columnNames: fields.map((field) => field.name), columnTypes, rows };
    });

  /**
   * @param {Query} query
   * @returns {Promise<Result<number>>} rows affected
   */
  executeRaw = async (query) => this.#run(async () => (await this.#query(query)).rowCount ?? 0);

  commit = async () => {
    this.release();
    return { ok: true, value: undefined };
  };

  rollback = this.commit;

  release() {
    if (this.#released) return;
    this.#released = true;
    this.adapter.pool.release(this.client, this.#broken);
  }

  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<Result<T>>}
   */
  async #run(work) {
    const since = performance.now();
    try {
      return { ok: true, value: await work() };
    } catch (error) {
      const problem = queryProblem(error, this.adapter.pool.settings);
      this.#broken ||= problem instanceof KnownError;
      return this.adapter.fail(problem);
    } finally {
      this.adapter.metrics.databaseQuery(performance.now() - since);
    }
  }

  /** @param {Query} query */
  #query({ sql, args }) {
    return this.client.query(
      /** @type {import('pg').QueryArrayConfig} */ ({
        text: sql,
        values: args.map(parameter),
        rowMode: 'array',
        queryMode: 'extended', // refuses several statements in one, as the native engine does
        types: asText,
      }),
    );
  }

  /**
   * @param {number[]} oids
   * @returns {Promise<ColumnType[]>}
   */
  async #columnTypes(oids) {
    const unknown = oids.filter((oid) => !columnType(oid) && !lookedUp.has(oid));
    if (unknown.length > 0) {
      const { rows } = await this.client.query(
        // int2vector and its like are in the category of arrays but not written as arrays are.
        "SELECT oid::int8, typcategory = 'A' AND typarray = 0 AS is_array FROM pg_catalog.pg_type WHERE oid = ANY($1)",
        [unknown],
      );
      for (const { oid, is_array } of rows) lookedUp.set(Number(oid), is_array ? textArrayType : textType);
    }
    return oids.map((oid) => columnType(oid) ?? lookedUp.get(oid) ?? textType);
  }
}

/**
 * @param {unknown} value
 * @returns {unknown} as `pg` takes it: bytes as a Buffer, also inside a list
 */
function parameter(value) {
  if (Array.isArray(value)) return value.map(parameter);
  return ArrayBuffer.isView(value) ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value;
}
