// Sets up, runs every *.test.mjs, clears up. BL_WEB_BASE uses a server that is already there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startServer } from './server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('../../', import.meta.url));
const binary = process.env.BLUELAKE ?? `${root}build/release/bluelake`;
const wanted = process.argv.slice(2);
const files = readdirSync(here).filter((name) => name.endsWith('.test.mjs') && (wanted.length === 0 || wanted.some((word) => name.includes(word))));

const server = process.env.BL_WEB_BASE ? { base: process.env.BL_WEB_BASE, stop: async () => {} } : await startServer(binary, Number(process.env.BL_WEB_EVENTS ?? 250_000));
const tests = spawn(process.execPath, ['--test', '--test-concurrency=2', ...files.map((name) => here + name)], {
  stdio: 'inherit',
  env: { ...process.env, BL_WEB_BASE: server.base },
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => tests.kill(signal));
const [code] = await once(tests, 'close');
await server.stop();
process.exit(code ?? 1);
