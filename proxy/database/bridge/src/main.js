/**
 * The query engine's program. prisma-client-py starts it as PRISMA_QUERY_ENGINE_BINARY, asks it
 * for its version, and then talks to it over HTTP until it ends it with SIGINT.
 *
 * It ends at once on SIGINT or SIGTERM, when the process that started it is gone, when the
 * database refuses the login, and when the engine breaks. It goes on while the database is away.
 */
import { KnownError } from './errors.js';
import { collectAtRest } from './rest.js';

/** The commit of the engine inside @prisma/client 5.17.0. */
const VERSION = '393aa359c9ad4a4bb28630fb5613f9c281cde053';
const PARENT_POLL = 2000;
/** No start will ever succeed with these; the others are worth waiting for. */
const HOPELESS = new Set(['P1000', 'P1003', 'P1010']);

if (process.argv.includes('--version')) {
  process.stdout.write(`query-engine ${VERSION}\n`);
} else {
  process.title = 'query-engine'; // by this name LiteLLM finds engines that were left behind
  endWithParent();
  try {
    await serve();
  } catch (error) {
    fail(error);
  }
}

function endWithParent() {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(0);
  }, PARENT_POLL).unref();
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0));
  process.on('uncaughtException', fail);
}

/**
 * @param {unknown} error
 * @returns {never}
 */
function fail(error) {
  const { message } = /** @type {Error} */ (error);
  const code = error instanceof KnownError ? ` ${error.code}` : '';
  process.stderr.write(`query-engine: stopped${code}: ${message.replaceAll('\n', ' ')}\n`);
  process.exit(1);
}

async function serve() {
  // Loaded here, so that `--version`, which the client asks before every start, stays quick.
  const [{ readSettings }, { Pool }] = await Promise.all([import('./settings.js'), import('./pool.js')]);
  const { port, datamodel, schema, database, logQueries } = readSettings(process.argv.slice(2), process.env);
  const pool = new Pool(database);
  const [{ startServer }] = await Promise.all([import('./service.js'), tryDatabase(pool)]);
  await startServer({ port, datamodel, schema, pool, logQueries, log });
  collectAtRest();
}

/** @param {string} entry of the engine's log, JSON */
function log(entry) {
  const { params: _, ...rest } = JSON.parse(entry); // parameters are what users wrote, and their keys
  process.stdout.write(`${JSON.stringify(rest)}\n`);
}

/** @param {import('./pool.js').Pool} pool */
async function tryDatabase(pool) {
  try {
    pool.release(await pool.acquire(), false);
  } catch (error) {
    if (error instanceof KnownError && HOPELESS.has(error.code)) throw error;
  }
}
