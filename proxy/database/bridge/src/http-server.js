/**
 * The HTTP interface of Prisma's native query engine, as far as prisma-client-py uses it.
 */
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

/**
 * @typedef {import('node:http').IncomingMessage} IncomingMessage
 * @typedef {import('./metrics.js').Metrics} Metrics
 * @typedef {import('./requests.js').Requests} Requests
 * @typedef {import('./transactions.js').Transactions} Transactions
 *
 * @typedef {{ status: number, type: string, body: string }} Reply
 */

const END_TRANSACTION = /^\/transaction\/([^/]+)\/(commit|rollback)$/;

/**
 * @param {object} parts
 * @param {Requests} parts.requests
 * @param {Transactions} parts.transactions
 * @param {Metrics} parts.metrics
 * @returns {import('node:http').Server}
 */
export function createEngineServer(parts) {
  const server = createServer((request, response) => {
    answer(request, parts)
      .catch((/** @type {unknown} */ error) => {
        // A trap leaves the engine's memory in an unknown state; whoever started us starts us anew.
        if (error instanceof WebAssembly.RuntimeError) throw error;
        const { message } = /** @type {Error} */ (error);
        return json(500, { is_panic: false, message, meta: {}, error_code: 'P5000' });
      })
      .then(({ status, type, body }) => {
        response.writeHead(status, { 'content-type': type });
        response.end(body);
      });
  });
  // Node's default of 5 s is the client's, too: who closes first would be a race.
  server.keepAliveTimeout = 0;
  return server;
}

/**
 * @param {IncomingMessage} request
 * @param {{ requests: Requests, transactions: Transactions, metrics: Metrics }} parts
 * @returns {Promise<Reply>}
 */
async function answer(request, { requests, transactions, metrics }) {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost');
  const route = `${request.method} ${pathname}`;
  if (route === 'GET /status') return json(200, { status: 'ok' });
  const body = await text(request);
  if (route === 'POST /') {
    const transactionId = request.headers['x-transaction-id']?.toString();
    return ok(await metrics.clientQuery(() => requests.run(body, transactionId)));
  }
  if (route === 'POST /transaction/start') return outcome(await transactions.start(body));
  if (route === 'GET /metrics') {
    const labels = body === '' ? {} : JSON.parse(body);
    return searchParams.get('format') === 'json'
      ? json(200, metrics.json(labels))
      : { status: 200, type: 'text/plain; version=0.0.4', body: metrics.prometheus(labels) };
  }
  const [, id, end] = END_TRANSACTION.exec(pathname) ?? [];
  if (request.method === 'POST' && id) {
    return outcome(await (end === 'commit' ? transactions.commit(id) : transactions.rollback(id)));
  }
  return json(404, { is_panic: false, message: `No such endpoint: ${route}`, meta: {} });
}

/** @param {import('./transactions.js').Outcome} outcome */
function outcome({ status, body }) {
  return json(status, body);
}

/**
 * @param {number} status
 * @param {object} body
 * @returns {Reply}
 */
function json(status, body) {
  return { status, type: 'application/json', body: JSON.stringify(body) };
}

/**
 * @param {string} body
 * @returns {Reply}
 */
function ok(body) {
  return { status: 200, type: 'application/json', body };
}
