// The real binary over a real lake: made once, shared by all test files through the environment.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { events } from './fixture.mjs';

export const BINARY = process.env.BLUELAKE ?? fileURLToPath(new URL('../../build/release/bluelake', import.meta.url));
const LOG = fileURLToPath(new URL('../../build/web-server.log', import.meta.url));
// Another collection on this machine is none of this server's business.
const NO_PEERS = ['--set', 'ingest.http=127.0.0.1:9', '--set', 'write.http=127.0.0.1:9'];
const LIMIT_MS = 60_000;

function run(binary, args, options = {}) {
  const child = spawn(binary, args, { stdio: ['pipe', 'pipe', 'inherit'], ...options });
  const ended = once(child, 'close').then(([code]) => {
    if (code !== 0) throw new Error(`${binary} ${args.join(' ')}: exit ${code}`);
  });
  return { child, ended };
}

/** Adds lines of NDJSON to a lake. */
export async function importLines(binary, lake, lines) {
  const into = run(binary, ['import', '--data', lake, '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
  into.child.stdin.end(lines);
  await into.ended;
}

async function fill(binary, lake, count) {
  const into = run(binary, ['import', '--data', lake, '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
  const from = run(binary, ['simulate', '--ndjson', '--network-rate', '2', '--count', String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
  from.child.stdout.pipe(into.child.stdin, { end: false });
  try {
    await from.ended;
    into.child.stdin.end(events());
    await into.ended;
  } finally {
    into.child.kill();
  }
}

/** A stretch that upstream could not serve, as the recording notes it. */
async function plantGap(lake) {
  const gap = "INSERT INTO gaps(from_us, to_us, noted_us, host, reason, healed) VALUES(1767571260000000, 1767571290000000, 1767571300000000, 'jetstream1.example', 'test', 0)";
  await run('sqlite3', [join(lake, 'catalog.sqlite'), gap]).ended;
}

/** `serve` says on its first line where it listens. */
async function address(child) {
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
  let text = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += chunk;
    const found = /http:\/\/[\d.]*:(\d+)/.exec(text);
    if (!found) continue;
    clearTimeout(timer);
    child.stdout.resume();
    return `http://127.0.0.1:${found[1]}`;
  }
  throw new Error(`the server did not say where it listens: ${text}`);
}

async function untilReady(base) {
  for (const end = Date.now() + LIMIT_MS; Date.now() < end; ) {
    const answer = await fetch(`${base}/ready`).catch(() => null);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the server did not become ready');
}

export async function startServer(binary, count, sets = []) {
  const lake = await mkdtemp(join(tmpdir(), 'bluelake-web-'));
  try {
    await fill(binary, lake, count);
    await plantGap(lake);
    await run(binary, ['views', '--refresh', '--data', lake], { stdio: ['ignore', 'ignore', 'inherit'] }).ended;
    const child = spawn(binary, ['serve', '--data', lake, '--http', '127.0.0.1:0', '--set', 'serve.row_limit=0', ...NO_PEERS, ...sets.flatMap((each) => ['--set', each])], { stdio: ['ignore', 'pipe', openSync(LOG, 'w')] });
    const base = await address(child);
    await untilReady(base);
    return {
      base,
      lake,
      async stop() {
        child.kill('SIGTERM');
        await once(child, 'close');
        await rm(lake, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(lake, { recursive: true, force: true });
    throw error;
  }
}
