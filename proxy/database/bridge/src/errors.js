/**
 * What goes wrong between the bridge and Postgres, under the codes and in the words of Prisma's
 * native engine. Clients go by them: LiteLLM takes P2024 for a full pool and looks for "can't
 * reach database server", "connection closed" or "timed out" to tell an outage from a refused query.
 */

/**
 * @typedef {import('./connection-string.js').Settings} Settings
 *
 * @typedef {object} UserFacingError
 * @property {boolean} is_panic
 * @property {string} message
 * @property {Record<string, unknown>} meta
 * @property {string} [error_code]
 *
 * @typedef {object} SqlError what Postgres itself reported, in the shape of a driver adapter
 * @property {'Postgres'} kind
 * @property {string} code SQLSTATE
 * @property {string} severity
 * @property {string} message
 * @property {string | undefined} detail
 * @property {string | undefined} column
 * @property {string | undefined} hint
 */

/** A failure that has one of Prisma's codes. */
export class KnownError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {Record<string, unknown>} [meta]
   */
  constructor(code, message, meta = {}) {
    super(message);
    this.code = code;
    this.meta = meta;
  }

  /** @returns {UserFacingError} */
  userFacing() {
    return { is_panic: false, message: this.message, meta: this.meta, error_code: this.code };
  }
}

const REFUSED_LOGIN = new Set(['28P01', '28000']);
/** The states with which Postgres ends a session; see its Appendix A. */
const SESSION_ENDED = new Set(['08000', '08003', '08006', '25P03', '25P04', '57P01', '57P02', '57P05']);
const TLS_FAILURE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)|SSL/;

/**
 * @param {unknown} error what opening a connection or waiting for one threw
 * @param {Settings} settings
 * @returns {KnownError | SqlError}
 */
export function connectProblem(error, settings) {
  const { code = '', message } = /** @type {{ code?: string, message: string }} */ (error);
  const { host, port, user, database } = settings;
  if (message === 'timeout exceeded when trying to connect') {
    return new KnownError(
      'P2024',
      'Timed out fetching a new connection from the connection pool. ' +
        `(Current connection pool timeout: ${settings.poolTimeout / 1000}, ` +
        `connection limit: ${settings.connectionLimit})`,
      { connection_limit: settings.connectionLimit, timeout: settings.poolTimeout / 1000 },
    );
  }
  if (REFUSED_LOGIN.has(code)) {
    return new KnownError(
      'P1000',
      `Authentication failed against database server at \`${host}\`, ` +
        `the provided database credentials for \`${user}\` are not valid.`,
      { database_host: host, database_user: user },
    );
  }
  if (code === '3D000') {
    return new KnownError(
      'P1003',
      `Database \`${database}\` does not exist on the database server at \`${host}:${port}\`.`,
      { database_name: database, database_host: host, database_port: port },
    );
  }
  if (code === '42501') {
    return new KnownError('P1010', `User \`${user}\` was denied access on the database \`${database}\`.`, {
      database_user: user,
      database_name: database,
    });
  }
  if (TLS_FAILURE.test(code) || message.includes('SSL')) {
    return new KnownError('P1011', `Error opening a TLS connection: ${message}`, { message });
  }
  const sql = sqlError(error);
  if (sql && !SESSION_ENDED.has(code) && code !== '57P03') return sql;
  return new KnownError(
    'P1001',
    `Can't reach database server at \`${host}:${port}\`\n\n` +
      `Please make sure your database server is running at \`${host}:${port}\`.`,
    { database_host: host, database_port: port },
  );
}

/**
 * @param {unknown} error what a query on an open connection threw
 * @param {Settings} settings
 * @returns {KnownError | SqlError}
 */
export function queryProblem(error, settings) {
  const { code = '', message } = /** @type {{ code?: string, message: string }} */ (error);
  if (message === 'Query read timeout') {
    const time = `${settings.socketTimeout / 1000} s`;
    return new KnownError('P1008', `Operations timed out after ${time}`, { time });
  }
  const sql = sqlError(error);
  if (sql && !SESSION_ENDED.has(code)) return sql;
  // "connection closed" is the phrase that clients look for; the native engine's sentence lacks it.
  return new KnownError('P1017', 'Server has closed the connection (connection closed while in use).');
}

/**
 * @param {unknown} error
 * @returns {SqlError | undefined} undefined if this came from the socket, not from Postgres
 */
function sqlError(error) {
  const { code, severity, message, detail, column, hint } = /** @type {Partial<SqlError>} */ (error);
  if (typeof code !== 'string' || typeof severity !== 'string' || typeof message !== 'string') return undefined;
  return { kind: 'Postgres', code, severity, message, detail, column, hint };
}
