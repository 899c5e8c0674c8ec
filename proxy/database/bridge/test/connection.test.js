/** connection-string.js, settings.js and pool.js: where the database is and how to get there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync, mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { parseConnectionString } from '../src/connection-string.js';
import { Pool } from '../src/pool.js';
import { readSettings } from '../src/settings.js';

test('the parts of a url', () => {
  const settings = parseConnectionString('postgresql://us%40er:p%2Fw%25@db.example.org:6543/my%20db');
  assert.deepEqual(
    [settings.user, settings.password, settings.host, settings.port, settings.database],
    ['us@er', 'p/w%', 'db.example.org', 6543, 'my db'],
  );
});

test('defaults', () => {
  const settings = parseConnectionString('postgres://u@h/d');
  assert.equal(settings.port, 5432);
  assert.equal(settings.schema, 'public');
  assert.equal(settings.setSearchPath, false);
  assert.equal(settings.sslMode, 'prefer');
  assert.deepEqual([settings.poolTimeout, settings.connectTimeout, settings.socketTimeout], [10_000, 5_000, 0]);
  assert.ok(settings.connectionLimit >= 3);
});

test('hosts of other kinds', () => {
  assert.equal(parseConnectionString('postgresql://u:p@[::1]:5433/d').host, '::1');
  assert.equal(parseConnectionString('postgresql://u:p@localhost/d?host=/run/postgresql').host, '/run/postgresql');
});

test('parameters', () => {
  const settings = parseConnectionString(
    'postgresql://u:p@h/d?connection_limit=7&pool_timeout=0&connect_timeout=2&socket_timeout=3' +
      '&schema=Other&application_name=app&options=-c%20x%3D1',
  );
  assert.deepEqual(
    [settings.connectionLimit, settings.poolTimeout, settings.connectTimeout, settings.socketTimeout],
    [7, 0, 2000, 3000],
  );
  assert.deepEqual(
    [settings.schema, settings.setSearchPath, settings.applicationName, settings.options],
    ['Other', true, 'app', '-c x=1'],
  );
  assert.equal(parseConnectionString('postgresql://u:p@h/d?schema=a&pgbouncer=true').setSearchPath, false);
});

test('TLS', () => {
  const of = (/** @type {string} */ query) => parseConnectionString(`postgresql://u:p@h/d?${query}`);
  assert.equal(of('sslmode=disable').sslMode, 'disable');
  assert.equal(of('sslmode=require').sslMode, 'require');
  assert.equal(of('sslmode=require').tls.rejectUnauthorized, false);
  assert.equal(of('sslmode=require&sslaccept=strict').tls.rejectUnauthorized, true);
  assert.deepEqual([of('sslmode=verify-full').sslMode, of('sslmode=verify-full').tls.rejectUnauthorized], ['require', true]);
  assert.throws(() => of('sslmode=require&sslcert=/no/such/file'), /sslcert names the file \/no\/such\/file/);
});

test('mistakes are told without the password', () => {
  for (const text of [
    'mysql://u:secret@h/d',
    'postgresql://u:sec/ret@h:x/d',
    'postgresql://u:secret@h/d?connection_limit=0',
    'postgresql://u:secret@h/d?pool_timeout=-1',
    'secret',
  ]) {
    assert.throws(
      () => parseConnectionString(text),
      (/** @type {Error} */ error) => /database URL/.test(error.message) && !/sec/.test(error.message),
    );
  }
});

test('settings come from the environment', () => {
  const path = join(mkdtempSync(join(tmpdir(), 'schema-')), 'schema.prisma');
  writeFileSync(path, 'datasource db {\n  url = env("THE_URL")\n}\nmodel A {\n  id Int\n}\n');
  const environment = { PRISMA_DML_PATH: path, THE_URL: 'postgresql://u:p@h/one' };
  const settings = readSettings(['-p', '4321', '--enable-metrics', '--enable-raw-queries'], environment);
  assert.deepEqual([settings.port, settings.database.database, settings.logQueries], [4321, 'one', false]);
  const override = { ...environment, OVERWRITE_DATASOURCES: '[{"name":"db","url":"postgresql://u:p@h/two"}]', LOG_QUERIES: 'y' };
  assert.deepEqual([readSettings([], override).database.database, readSettings([], override).logQueries], ['two', true]);
  assert.throws(() => readSettings([], { PRISMA_DML_PATH: path }), /THE_URL must hold the database URL/);
  assert.throws(() => readSettings([], {}), /PRISMA_DML_PATH/);
});

/**
 * A server that answers each SSLRequest alike and keeps what comes next.
 *
 * @param {string} answer
 */
async function postgresThatSays(answer) {
  /** @type {Buffer[]} */
  const next = [];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      if (data.equals(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))) {
        socket.write(answer);
        return;
      }
      next.push(data);
      socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { server, next, url: `postgresql://u:p@127.0.0.1:${port}/d` };
}

for (const [answer, first, what] of /** @type {const} */ ([
  ['S', 0x16, 'a TLS handshake where the server speaks TLS'],
  ['N', 0x00, 'the plain protocol where it does not'],
])) {
  test(`sslmode=prefer goes on with ${what}`, async () => {
    const { server, next, url } = await postgresThatSays(answer);
    await assert.rejects(new Pool(parseConnectionString(url)).acquire());
    assert.equal(next[0]?.[0], first);
    server.close();
  });
}

test('sslmode=disable does not ask', async () => {
  const { server, next, url } = await postgresThatSays('S');
  await assert.rejects(new Pool(parseConnectionString(`${url}?sslmode=disable`)).acquire(), { code: 'P1001' });
  assert.match(String(next[0]), /DateStyle\0ISO, YMD\0TimeZone\0UTC/);
  server.close();
});

test('a server that was away is asked again', async () => {
  const { server, next, url } = await postgresThatSays('N');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  const pool = new Pool(parseConnectionString(url));
  await assert.rejects(pool.acquire(), { code: 'P1001', message: /Can't reach database server at `127.0.0.1:\d+`/ });
  assert.equal(pool.waiting, 0);
  server.listen(address.port, '127.0.0.1');
  await once(server, 'listening');
  await assert.rejects(pool.acquire());
  assert.equal(next.length, 1);
  server.close();
});
