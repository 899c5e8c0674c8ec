/** rest.js: what a load has left behind goes when nothing more is to be done. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const MB = 1e6;
const REST = new URL('../src/rest.js', import.meta.url).href;
/** Holds 40 MB until it is old, lets go of it, and tells what is used then and what at the end. */
const LOADED = `
  import { collectAtRest } from '${REST}';
  globalThis.held = Array.from({ length: 40_000 }, (_, number) => ({ text: String(number).repeat(200) + number }));
  for (const each of globalThis.held) each.text.charCodeAt(0);
  globalThis.gc();
  globalThis.held = null;
  const used = () => process.memoryUsage().heapUsed;
  const before = used();
  if (process.argv[1] === 'collect') collectAtRest(100);
  const deadline = Date.now() + (process.argv[1] === 'collect' ? 30_000 : 2_000);
  const looking = setInterval(() => {
    if (used() > before / 2 && Date.now() < deadline) return;
    clearInterval(looking);
    console.log(JSON.stringify([before, used()]));
  }, 50);
`;

/** @param {string} how */
async function afterLoad(how) {
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--expose-gc', '--input-type=module', '--eval', LOADED, how,
  ]);
  return JSON.parse(stdout);
}

test('without it the garbage of a load stays', async () => {
  const [before, after] = await afterLoad('leave');
  assert(before > 20 * MB, `${before}`);
  assert(after > before / 2, `${before} to ${after}`);
});

test('at rest it goes', async () => {
  const [before, after] = await afterLoad('collect');
  assert(before > 20 * MB, `${before}`);
  assert(after < before / 2, `${before} to ${after}`);
});
