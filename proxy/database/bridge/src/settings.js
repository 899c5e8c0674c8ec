/**
 * What prisma-client-py tells the engine it starts: the port on the command line, everything
 * else in the environment. The database URL, which holds a password, is only ever read from there.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { parseConnectionString } from './connection-string.js';
import { parseSchema } from './schema.js';

/**
 * @param {string[]} args
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @throws {Error} with a message for the operator
 */
export function readSettings(args, environment) {
  const { values } = parseArgs({
    args,
    strict: false, // the native engine's other switches change nothing here
    options: { port: { type: 'string', short: 'p' } },
  });
  const path = environment['PRISMA_DML_PATH'];
  if (!path) throw new Error('PRISMA_DML_PATH must name the schema.prisma to serve.');
  const datamodel = readFileSync(path, 'utf8');
  const schema = parseSchema(datamodel);
  return {
    port: Number(values['port'] ?? 0),
    datamodel,
    schema,
    database: parseConnectionString(databaseUrl(schema, environment)),
    logQueries: /^(y|1|true)$/i.test(environment['LOG_QUERIES'] ?? ''),
  };
}

/**
 * @param {import('./schema.js').Schema} schema
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @returns {string}
 */
function databaseUrl({ url }, environment) {
  const overrides = environment['OVERWRITE_DATASOURCES'];
  const override = overrides ? JSON.parse(overrides)[0]?.url : undefined;
  if (override) return override;
  if (!url) throw new Error('The schema names no datasource url.');
  if ('literal' in url) return url.literal;
  const value = environment[url.env];
  if (!value) throw new Error(`The environment variable ${url.env} must hold the database URL.`);
  return value;
}
