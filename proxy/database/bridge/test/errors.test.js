import assert from 'node:assert/strict';
import { test } from 'node:test';

import { parseConnectionString } from '../src/connection-string.js';
import { KnownError, connectProblem, queryProblem } from '../src/errors.js';

const settings = parseConnectionString('postgresql://u:p@h:1/d?connection_limit=3&pool_timeout=4&socket_timeout=5');

/**
 * @param {string} message
 * @param {object} [more]
 */
const error = (message, more = {}) => Object.assign(new Error(message), more);
/** @param {string} code */
const fromPostgres = (code) => error('as Postgres says', { code, severity: 'ERROR' });

test('failures of connecting', () => {
  for (const [thrown, code, message] of /** @type {const} */ ([
    [error('connect ECONNREFUSED', { code: 'ECONNREFUSED' }), 'P1001', /Can't reach database server at `h:1`/],
    [error('timeout expired'), 'P1001', /Can't reach/],
    [error('Connection terminated unexpectedly'), 'P1001', /Can't reach/],
    [fromPostgres('57P03'), 'P1001', /Can't reach/],
    [error('timeout exceeded when trying to connect'), 'P2024', /pool timeout: 4, connection limit: 3/],
    [fromPostgres('28P01'), 'P1000', /credentials for `u` are not valid/],
    [fromPostgres('3D000'), 'P1003', /Database `d` does not exist/],
    [fromPostgres('42501'), 'P1010', /denied access on the database `d`/],
    [error('The server does not support SSL connections'), 'P1011', /TLS/],
    [error('self-signed', { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }), 'P1011', /TLS/],
  ])) {
    const problem = connectProblem(thrown, settings);
    assert.ok(problem instanceof KnownError, thrown.message);
    assert.equal(problem.code, code);
    assert.match(problem.message, message);
    assert.notEqual(problem.userFacing().meta, null);
  }
});

test('failures of queries', () => {
  for (const [thrown, code, message] of /** @type {const} */ ([
    [error('read ECONNRESET', { code: 'ECONNRESET' }), 'P1017', /connection closed/],
    [error('Connection terminated unexpectedly'), 'P1017', /Server has closed the connection/],
    [fromPostgres('57P01'), 'P1017', /closed/],
    [fromPostgres('25P03'), 'P1017', /closed/],
    [error('Query read timeout'), 'P1008', /timed out after 5 s/],
  ])) {
    const problem = queryProblem(thrown, settings);
    assert.ok(problem instanceof KnownError, thrown.message);
    assert.equal(problem.code, code);
    assert.match(problem.message, message);
  }
});

test("Postgres' own errors go to the engine as they are", () => {
  for (const code of ['23505', '42P01', '53300', '08P01', '57014']) {
    assert.deepEqual(queryProblem(fromPostgres(code), settings), {
      kind: 'Postgres',
      code,
      severity: 'ERROR',
      message: 'as Postgres says',
      detail: undefined,
      column: undefined,
      hint: undefined,
    });
  }
  assert.equal(/** @type {any} */ (connectProblem(fromPostgres('53300'), settings)).kind, 'Postgres');
});
