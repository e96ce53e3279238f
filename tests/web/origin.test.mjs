// The page on an origin of its own, as on Vercel: built for the API's address, served with the headers of vercel.json.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { launch, open, search, settled } from './page.mjs';
import { BINARY, startServer } from './server.mjs';

const WEB = fileURLToPath(new URL('../../web/', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
let browser, server, folder, listed, stranger;

/** A static host that knows files and headers, nothing else. */
async function host(headers) {
  const answer = async (request, response) => {
    const path = new URL(request.url, 'http://host').pathname;
    const file = join(folder, path === '/' ? 'index.html' : path);
    const body = await readFile(file).catch(() => null);
    response.writeHead(body ? 200 : 404, { ...headers(), 'content-type': TYPES[extname(file)] ?? 'text/plain' });
    response.end(body);
  };
  const listening = http.createServer((request, response) => void answer(request, response));
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return { base: `http://127.0.0.1:${listening.address().port}`, stop: () => (listening.close(), listening.closeAllConnections()) };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bluelake-origin-'));
  const { headers } = JSON.parse(await readFile(`${WEB}vercel.json`, 'utf8'));
  const everywhere = headers.find((each) => each.source === '/(.*)').headers;
  // The policy narrowed to the API, as docs/PAGE.md proposes.
  const narrowed = () => Object.fromEntries(everywhere.map(({ key, value }) => [key, value.replace("'self' https:", `'self' ${server.base}`)]));
  [listed, stranger] = [await host(narrowed), await host(narrowed)];
  server = await startServer(BINARY, 3000, [`serve.cors_origins=${listed.base}`]);
  const environment = { ...process.env, VITE_API_BASE: `${server.base}/`, VITE_SOURCE_URL: 'https://code.example/bluelake' };
  await promisify(execFile)(process.execPath, ['node_modules/vite/bin/vite.js', 'build', '--outDir', folder, '--emptyOutDir', '--logLevel', 'error'], { cwd: WEB, env: environment, timeout: 120_000 });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  listed?.stop();
  stranger?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

test('a page of a listed origin searches, counts and exports', async () => {
  const watched = await open(browser, search({ q: 'xylophone' }), { base: listed.base, api: server.base });
  const { page } = watched;
  await settled(page);
  assert.equal(await page.locator('table.posts tbody tr').count(), 7);
  assert.match(await page.textContent('.summary'), /^7 of 7 results/);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  assert.match(await readFile(await download.path(), 'utf8'), /^timestamp,username,text/);
  await page.getByRole('link', { name: 'Explore', exact: true }).click();
  await page.locator('.panel[data-view="languages"] table.ranking').waitFor();
  await page.getByRole('link', { name: 'Collection', exact: true }).click();
  await page.getByText('Snapshot').waitFor();
  assert.equal(await page.getByRole('link', { name: 'API docs' }).getAttribute('href'), `${server.base}/docs`);
  assert.equal(await page.getByRole('link', { name: 'GitHub' }).getAttribute('href'), 'https://code.example/bluelake');
  await watched.close();
});

test('what the server says of a fault is readable there as well', async () => {
  const watched = await open(browser, search({ q: 'cats form:alice.example.com' }), { base: listed.base, api: server.base });
  await watched.page.locator('.pointed').waitFor();
  await watched.close();
});

test('a page of any other origin is told what is missing', async () => {
  const watched = await open(browser, search({ q: 'xylophone' }), { base: stranger.base, api: server.base });
  const alert = watched.page.locator('.failed[role=alert]');
  await alert.waitFor();
  assert.match(await alert.textContent(), new RegExp(`The server does not answer\\..*serve\\.cors_origins lists ${stranger.base}`, 's'));
  assert.equal(await watched.page.locator('table.posts').count(), 0);
  await watched.close();
});
