/** http-server.js, requests.js and transactions.js round an engine that does as it is told. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import { Adapter } from '../src/adapter.js';
import { parseConnectionString } from '../src/connection-string.js';
import { KnownError } from '../src/errors.js';
import { createEngineServer } from '../src/http-server.js';
import { Metrics } from '../src/metrics.js';
import { Pool } from '../src/pool.js';
import { Requests } from '../src/requests.js';
import { parseSchema } from '../src/schema.js';
import { Transactions } from '../src/transactions.js';

const ID = 'abcdefghijklmnopqrstuvwxy';

/** @type {{ query: (request: string, transaction?: string) => Promise<string>, start: () => Promise<string> }} */
const behaviour = { query: async () => '', start: async () => '' };
/** @type {string[]} */
const ended = [];
const pool = new Pool(parseConnectionString('postgresql://u:p@h/d'));
const metrics = new Metrics(pool);
const adapter = new Adapter(pool, metrics);
/** @type {import('../src/engine.js').Engine} */
const engine = {
  connect: async () => {},
  query: (request, _trace, transaction) => behaviour.query(request, transaction),
  startTransaction: () => behaviour.start(),
  commitTransaction: async (id) => {
    ended.push(`commit ${id}`);
    return '{}';
  },
  rollbackTransaction: async (id) => {
    ended.push(`rollback ${id}`);
    return '{}';
  },
};
const server = createEngineServer({
  requests: new Requests(engine, adapter, parseSchema('model User {\n  id Int\n}')),
  transactions: new Transactions(engine, adapter),
  metrics,
});
let base = '';

before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
});
after(() => server.close());

/**
 * @param {string} path
 * @param {unknown} [body]
 * @param {Record<string, string>} [headers]
 */
async function post(path, body = {}, headers = {}) {
  const answer = await fetch(base + path, { method: 'POST', body: JSON.stringify(body), headers });
  return { status: answer.status, body: await answer.json() };
}

const QUERY = 'query { result: findManyUser { id } }';

test('status, and no keep-alive of its own to race the client', async () => {
  const answer = await fetch(`${base}/status`);
  assert.deepEqual([answer.status, await answer.json()], [200, { status: 'ok' }]);
  assert.equal(answer.headers.get('keep-alive'), null);
  assert.equal(server.keepAliveTimeout, 0);
});

test('a query', async () => {
  behaviour.query = async (request, transaction) => {
    assert.equal(JSON.parse(request).action, 'findMany');
    assert.equal(transaction, undefined);
    return '{"data":{"findManyUser":[{"id":1}]}}';
  };
  assert.deepEqual(await post('/', { query: QUERY }), { status: 200, body: { data: { result: [{ id: 1 }] } } });
});

test('a batch says whether it is a transaction', async () => {
  /** @type {any[]} */
  const asked = [];
  behaviour.query = async (request) => {
    asked.push(JSON.parse(request));
    return '{"batchResult":[]}';
  };
  const batch = [{ query: QUERY }, { query: QUERY }];
  assert.deepEqual((await post('/', { batch, transaction: true })).body, { batchResult: [] });
  await post('/', { batch, transaction: false });
  assert.deepEqual([asked[0].transaction, asked[1].transaction, asked[0].batch.length], [{}, undefined, 2]);
});

test('a query inside a transaction', async () => {
  behaviour.query = async (_request, transaction) => {
    assert.equal(transaction, ID);
    return '{"data":{"findManyUser":[]}}';
  };
  assert.equal((await post('/', { query: QUERY }, { 'X-transaction-id': ID })).status, 200);
});

test('an id that is none does not reach the engine, which would break on it', async () => {
  behaviour.query = () => assert.fail('asked the engine');
  const { status, body } = await post('/', { query: QUERY }, { 'X-transaction-id': 'x' });
  assert.equal(status, 200);
  assert.equal(body.errors[0].user_facing_error.error_code, 'P2028');
  assert.equal((await post('/transaction/x/commit')).status, 404);
  assert.equal((await post('/transaction/x/rollback')).status, 404);
});

test('errors always have a meta', async () => {
  behaviour.query = async () => '{"errors":[{"error":"e","user_facing_error":{"is_panic":false,"message":"m","meta":null}}]}';
  const { status, body } = await post('/', { query: QUERY });
  assert.equal(status, 200);
  assert.deepEqual(body.errors[0].user_facing_error, { is_panic: false, message: 'm', meta: {} });
});

test("the adapter's errors come out under their own codes", async () => {
  const failed = adapter.fail(new KnownError('P1001', 'away'));
  assert.equal(failed.error.kind, 'GenericJs');
  const { id } = /** @type {{ id: number }} */ (failed.error);
  behaviour.query = async () =>
    `{"errors":[{"error":"e","user_facing_error":{"is_panic":false,"message":"m","meta":{"id":${id}},"error_code":"P2036"}}]}`;
  const [error] = (await post('/', { query: QUERY })).body.errors;
  assert.deepEqual([error.error, error.user_facing_error.error_code], ['away', 'P1001']);
  assert.equal(adapter.takeError(id), undefined);
});

test('what cannot be read is an answer, too', async () => {
  behaviour.query = async () => {
    throw new Error('recursion limit exceeded');
  };
  for (const query of ['query {', QUERY]) {
    const { status, body } = await post('/', { query });
    assert.deepEqual([status, body.errors[0].user_facing_error.error_code], [200, 'P2009']);
  }
  assert.equal((await fetch(base, { method: 'POST', body: 'no json' })).status, 200);
});

test('a transaction is started and ended', async () => {
  behaviour.start = async () => JSON.stringify({ id: ID });
  assert.deepEqual(await post('/transaction/start', { max_wait: 1000, timeout: 1000 }), { status: 200, body: { id: ID } });
  assert.deepEqual(await post(`/transaction/${ID}/commit`), { status: 200, body: {} });
  assert.deepEqual(ended.splice(0), [`commit ${ID}`]);
});

test('a late start is answered in time and rolled back when it comes', async () => {
  /** @type {(answer: string) => void} */
  let arrive = () => {};
  behaviour.start = () => new Promise((resolve) => (arrive = resolve));
  const { status, body } = await post('/transaction/start', { max_wait: 20, timeout: 1000 });
  assert.deepEqual([status, body.error_code], [504, 'P2028']);
  assert.deepEqual(ended, []);
  arrive(JSON.stringify({ id: ID }));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(ended.splice(0), [`rollback ${ID}`]);
});

test('each failure of a transaction has its status', async () => {
  for (const [reason, status] of /** @type {const} */ ([
    ['Transaction API error: Transaction already closed: …', 422],
    ['Transaction API error: Transaction not found. …', 404],
    ['something else', 500],
  ])) {
    behaviour.start = async () => {
      throw new Error(JSON.stringify({ is_panic: false, message: reason, meta: null, error_code: 'P2028' }));
    };
    const answer = await post('/transaction/start', { max_wait: 1000, timeout: 1000 });
    assert.deepEqual([answer.status, answer.body.meta], [status, {}]);
  }
});

test('metrics', async () => {
  metrics.databaseQuery(3);
  const response = await fetch(`${base}/metrics?format=json`);
  const { counters, histograms } = /** @type {any} */ (await response.json());
  assert.ok(counters.some((/** @type {any} */ { key, value }) => key === 'prisma_datasource_queries_total' && value > 0));
  assert.deepEqual(histograms[2].value.buckets.slice(0, 4), [[0, 0], [1, 0], [5, 1], [10, 1]]);
  const text = await (await fetch(`${base}/metrics?format=prometheus`)).text();
  assert.match(text, /^prisma_datasource_queries_duration_histogram_ms_bucket\{le="\+Inf"\} 1$/m);
});

test('no other endpoints', async () => {
  assert.equal((await post('/nope')).status, 404);
});
