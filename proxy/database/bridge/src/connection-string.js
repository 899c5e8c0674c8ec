/**
 * Prisma's Postgres connection string, with the parameters its native engine knows, as settings
 * for the pool. Called once at start.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * @typedef {object} Settings
 * @property {string} host a name, an address, or the folder of a Unix socket
 * @property {number} port
 * @property {string} user
 * @property {string} password
 * @property {string} database
 * @property {string} schema
 * @property {boolean} setSearchPath false behind PgBouncer, where sessions are shared
 * @property {'disable' | 'prefer' | 'require'} sslMode
 * @property {import('node:tls').ConnectionOptions} tls how to check the server, if TLS is used
 * @property {number} connectionLimit
 * @property {number} poolTimeout milliseconds to wait for a free connection, 0 for ever
 * @property {number} connectTimeout milliseconds to wait for the server, 0 for ever
 * @property {number} socketTimeout milliseconds to wait for an answer, 0 for ever
 * @property {string | undefined} applicationName
 * @property {string | undefined} options server options, as of libpq
 */

/**
 * @param {string} text `postgresql://user:password@host:port/database?parameter=…`
 * @returns {Settings}
 * @throws {Error} whose message tells what is wrong without repeating the text, which holds a password
 */
export function parseConnectionString(text) {
  const url = parseUrl(text);
  const parameters = url.searchParams;
  const mode = parameters.get('sslmode') ?? 'prefer';
  return {
    host: parameters.get('host') ?? (decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1') || 'localhost'),
    port: url.port === '' ? 5432 : Number(url.port),
    user: decode(url.username),
    password: decode(url.password),
    database: decode(url.pathname.slice(1)) || 'postgres',
    schema: parameters.get('schema') ?? 'public',
    setSearchPath: parameters.has('schema') && parameters.get('pgbouncer') !== 'true',
    sslMode: mode === 'disable' ? 'disable' : /^(require|verify-ca|verify-full)$/.test(mode) ? 'require' : 'prefer',
    tls: tlsOptions(parameters, mode.startsWith('verify-')),
    connectionLimit: wholeNumber(parameters, 'connection_limit', availableParallelism() * 2 + 1, 1),
    poolTimeout: 1000 * wholeNumber(parameters, 'pool_timeout', 10, 0),
    connectTimeout: 1000 * wholeNumber(parameters, 'connect_timeout', 5, 0),
    socketTimeout: 1000 * wholeNumber(parameters, 'socket_timeout', 0, 0),
    applicationName: parameters.get('application_name') ?? undefined,
    options: parameters.get('options') ?? undefined,
  };
}

/**
 * @param {string} text
 * @returns {URL}
 */
function parseUrl(text) {
  if (!/^postgres(ql)?:\/\//.test(text)) {
    throw new Error('The database URL must start with the protocol `postgresql://` or `postgres://`.');
  }
  try {
    return new URL(text);
  } catch {
    throw new Error(
      'The database URL cannot be read. Special characters in the user name or password must be percent-encoded.',
    );
  }
}

/**
 * @param {string} part
 * @returns {string}
 */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone % that was never meant as an escape
  }
}

/**
 * @param {URLSearchParams} parameters
 * @param {string} name
 * @param {number} fallback
 * @param {number} least
 * @returns {number}
 */
function wholeNumber(parameters, name, fallback, least) {
  const text = parameters.get(name);
  if (text === null) return fallback;
  if (!/^\d+$/.test(text) || Number(text) < least) {
    throw new Error(`The database URL's parameter ${name} must be a whole number, ${least} or more.`);
  }
  return Number(text);
}

/**
 * @param {URLSearchParams} parameters
 * @param {boolean} verify the mode itself asks for a check of the certificate
 * @returns {import('node:tls').ConnectionOptions}
 */
function tlsOptions(parameters, verify) {
  const authority = parameters.get('sslcert') ?? parameters.get('sslrootcert');
  const identity = parameters.get('sslidentity');
  return {
    rejectUnauthorized: verify || parameters.get('sslaccept') === 'strict',
    ...(authority === null ? {} : { ca: readCertificate(authority, 'sslcert') }),
    ...(identity === null
      ? {}
      : { pfx: readCertificate(identity, 'sslidentity'), passphrase: parameters.get('sslpassword') ?? '' }),
  };
}

/**
 * @param {string} path
 * @param {string} parameter
 * @returns {Buffer}
 */
function readCertificate(path, parameter) {
  try {
    return readFileSync(path);
  } catch {
    throw new Error(`The database URL's parameter ${parameter} names the file ${path}, which cannot be read.`);
  }
}
