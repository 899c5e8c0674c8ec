/**
 * Loads Prisma's query engine, compiled to WebAssembly, from npm's @prisma/client. It is the same
 * engine as the native binary that prisma-client-py would download, less the database driver.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/**
 * @typedef {object} Engine requests and answers are JSON text; `trace` is a JSON object of telemetry
 * @property {(trace: string) => Promise<void>} connect
 * @property {(request: string, trace: string, transactionId?: string) => Promise<string>} query
 * @property {(options: string, trace: string) => Promise<string>} startTransaction
 * @property {(transactionId: string, trace: string) => Promise<string>} commitTransaction
 * @property {(transactionId: string, trace: string) => Promise<string>} rollbackTransaction
 */

const RUNTIME = '@prisma/client/runtime/query_engine_bg.postgresql';

/**
 * @param {object} options
 * @param {string} options.datamodel the text of a schema.prisma
 * @param {import('./adapter.js').Adapter} options.adapter
 * @param {boolean} options.logQueries
 * @param {(entry: string) => void} options.log takes the engine's log entries, JSON text
 * @returns {Engine}
 */
export function loadEngine({ datamodel, adapter, logQueries, log }) {
  const require = createRequire(import.meta.url);
  const glue = require(`${RUNTIME}.js`);
  const wasm = new WebAssembly.Module(readFileSync(require.resolve(`${RUNTIME}.wasm`)));
  const instance = new WebAssembly.Instance(wasm, { './query_engine_bg.js': glue });
  glue.__wbg_set_wasm(instance.exports);
  return new glue.QueryEngine(
    {
      datamodel,
      logLevel: logQueries ? 'info' : 'error',
      logQueries,
      env: {},
      ignoreEnvVarErrors: true,
      datasourceOverrides: {},
      configDir: '.',
      engineProtocol: 'json',
    },
    log,
    adapter,
  );
}
