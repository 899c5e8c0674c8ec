/**
 * Puts the parts together: engine, adapter, requests, HTTP. Called by main.js once the database
 * has been tried.
 */
import { Adapter } from './adapter.js';
import { loadEngine } from './engine.js';
import { createEngineServer } from './http-server.js';
import { Metrics } from './metrics.js';
import { Requests } from './requests.js';
import { Transactions } from './transactions.js';

/**
 * @param {object} options
 * @param {number} options.port
 * @param {string} options.datamodel
 * @param {import('./schema.js').Schema} options.schema
 * @param {import('./pool.js').Pool} options.pool
 * @param {boolean} options.logQueries
 * @param {(entry: string) => void} options.log
 */
export async function startServer({ port, datamodel, schema, pool, logQueries, log }) {
  const metrics = new Metrics(pool);
  const adapter = new Adapter(pool, metrics);
  const engine = loadEngine({ datamodel, adapter, logQueries, log });
  await engine.connect('{}');
  const server = createEngineServer({
    requests: new Requests(engine, adapter, schema),
    transactions: new Transactions(engine, adapter),
    metrics,
  });
  server.listen(port, '127.0.0.1');
}
