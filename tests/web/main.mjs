// Sets up, runs every *.test.mjs, clears up. BL_WEB_BASE uses a server that is already there. The last line counts as pytest's does.
import { readdirSync } from 'node:fs';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { BINARY, startServer } from './server.mjs';

// What fails gets a second try, alone: a browser on a busy machine misses a deadline now and then, a defect fails twice.
const SECOND_TRIES = 5;
const here = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && (wanted.length === 0 || wanted.some((word) => name.includes(word))));
const since = Date.now();

/** Runs files, or the tests of them that are named; says what passed and what did not. */
async function round(paths, concurrency, names) {
  const passed = [];
  const failed = [];
  const stream = run({ files: paths, concurrency, ...(names ? { testNamePatterns: names.map((name) => new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`)) } : {}) });
  // A file counts only when it failed as a whole: its tests are reported by themselves.
  const isFile = (test) => paths.includes(test.name) || files.includes(test.name);
  const counts = (test) => !test.skip && (!names || names.includes(test.name));
  stream.on('test:pass', (test) => counts(test) && !isFile(test) && passed.push(test));
  stream.on('test:fail', (test) => counts(test) && (!isFile(test) || test.details.error?.failureType !== 'subtestsFailed') && failed.push(test));
  const report = stream.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await finished(report);
  return { passed, failed };
}

let server = null;
const stop = async () => {
  const stopping = server;
  server = null;
  await stopping?.stop();
};
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void stop().finally(() => process.exit(1)));

if (!process.env.BL_WEB_BASE) {
  server = await startServer(BINARY, Number(process.env.BL_WEB_EVENTS ?? 250_000));
  process.env.BL_WEB_BASE = server.base;
}
let { passed, failed } = await round(files.map((name) => here + name), 2);
if (failed.length > 0 && failed.length <= SECOND_TRIES) {
  console.log(`\n-- second try of ${failed.map((test) => test.name).join(' | ')}`);
  const again = await round([...new Set(failed.map((test) => test.file).filter(Boolean))], 1, failed.map((test) => test.name));
  passed = [...passed, ...again.passed];
  failed = failed.filter((test) => !again.passed.some((now) => now.name === test.name)); // also what was not run again
}
await stop();
console.log(`${failed.length > 0 ? `${failed.length} failed, ` : ''}${passed.length} passed in ${((Date.now() - since) / 1000).toFixed(1)}s`);
process.exit(failed.length > 0 || passed.length === 0 ? 1 : 0);
