/**
 * The pool of Postgres connections. Around `pg` it adds what the native engine does and `pg` does
 * not: separate limits for waiting and for connecting, `sslmode=prefer`, a schema, and failures
 * under Prisma's codes. Used by adapter.js for queries and by main at start.
 */
import { connect } from 'node:net';

import pg from 'pg';

import { connectProblem } from './errors.js';

/**
 * @typedef {import('./connection-string.js').Settings} Settings
 * @typedef {import('./errors.js').KnownError} KnownError
 * @typedef {import('./errors.js').SqlError} SqlError
 */

const IDLE_LIFETIME = 300_000;

/**
 * A client whose session reads and writes moments as the engine does, in UTC and without saying
 * so, whatever the server's defaults: elsewhere a moment would be stored hours off.
 */
class UtcClient extends pg.Client {
  getStartupConf() {
    // @ts-expect-error -- pg has this hook, its types do not.
    return { ...super.getStartupConf(), DateStyle: 'ISO, YMD', TimeZone: 'UTC' };
  }
}

export class Pool {
  /** @type {Promise<pg.Pool> | undefined} */
  #pool;

  /** @param {Settings} settings */
  constructor(settings) {
    this.settings = settings;
    this.opened = 0;
    this.closed = 0;
    this.busy = 0;
    this.waiting = 0;
  }

  /**
   * @returns {Promise<pg.PoolClient>} give it back with `release`
   * @throws {KnownError | SqlError}
   */
  async acquire() {
    this.waiting += 1;
    try {
      this.#pool ??= this.#open();
      const client = await (await this.#pool).connect();
      this.busy += 1;
      return client;
    } catch (error) {
      throw connectProblem(error, this.settings);
    } finally {
      this.waiting -= 1;
    }
  }

  /**
   * @param {pg.PoolClient} client
   * @param {boolean} broken the connection cannot be used again
   */
  release(client, broken) {
    this.busy -= 1;
    client.release(broken);
  }

  /** @returns {Promise<pg.Pool>} */
  async #open() {
    const { settings } = this;
    /** @type {pg.ClientConfig} */
    const config = {
      host: settings.host,
      port: settings.port,
      user: settings.user,
      password: settings.password,
      database: settings.database,
      application_name: settings.applicationName,
      options: settings.options,
      connectionTimeoutMillis: settings.connectTimeout,
      query_timeout: settings.socketTimeout,
      keepAlive: true,
      ssl: await this.#tls(),
    };
    const pool = new pg.Pool({
      // The pool's own time limit is the one for waiting; each client has its own for connecting.
      // @ts-expect-error -- a class in the types, but the pool only calls it with `new`.
      Client: function client() {
        return new UtcClient(config);
      },
      max: settings.connectionLimit,
      connectionTimeoutMillis: settings.poolTimeout,
      idleTimeoutMillis: IDLE_LIFETIME,
      onConnect: async (client) => {
        // Without a listener a connection that breaks while in use would end the process; the
        // query that was running reports it.
        client.on('error', () => {});
        this.opened += 1;
        if (settings.setSearchPath) {
          await client.query(`SET search_path = ${pg.escapeIdentifier(settings.schema)}`);
        }
      },
    });
    pool.on('error', () => {}); // an idle connection broke; the pool has dropped it
    pool.on('remove', () => {
      this.closed += 1;
    });
    return pool;
  }

  /** @returns {Promise<import('node:tls').ConnectionOptions | false>} */
  async #tls() {
    const { sslMode, tls, host, port, connectTimeout } = this.settings;
    if (sslMode === 'require') return tls;
    if (sslMode === 'disable' || host.startsWith('/')) return false;
    try {
      return (await offersTls(host, port, connectTimeout)) ? tls : false;
    } catch (error) {
      this.#pool = undefined; // the next query asks the server again
      throw error;
    }
  }
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/**
 * Asks a Postgres server whether it speaks TLS (the protocol's SSLRequest message).
 *
 * @param {string} host
 * @param {number} port
 * @param {number} timeout milliseconds, 0 for none
 * @returns {Promise<boolean>}
 */
function offersTls(host, port, timeout) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    /** @param {Error} error */
    const fail = (error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(timeout, () => fail(new Error('timeout expired')));
    socket.once('connect', () => socket.write(SSL_REQUEST));
    socket.once('data', (answer) => {
      socket.destroy();
      resolve(answer[0] === 'S'.charCodeAt(0));
    });
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('Connection terminated unexpectedly')));
  });
}
