// Accounts the lake has not heard of: named once the server has asked who they are, without moving what is read.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { launch, open, search, settled } from './page.mjs';
import { BINARY, startServer } from './server.mjs';

let browser, server, directory, release;
const held = new Promise((resolve) => (release = resolve));

/** Speaks app.bsky.actor.getProfiles, once it is let. */
async function startDirectory() {
  const answer = async (request, response) => {
    await held;
    const profiles = new URL(request.url, 'http://host').searchParams.getAll('actors').map((did) => ({ did, handle: `${did.slice(8)}.example.com`, displayName: 'Ann <b>O\'Nym</b>' }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ profiles }));
  };
  const listening = http.createServer((request, response) => void answer(request, response));
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${listening.address().port}`, stop: () => (listening.close(), listening.closeAllConnections()) };
}

before(async () => {
  directory = await startDirectory();
  server = await startServer(BINARY, 3000, [`resolve.url=${directory.url}`, 'resolve.timeout=60s', 'resolve.rate=100']);
  browser = await launch();
});
after(async () => {
  release();
  await browser?.close();
  await server?.stop();
  directory?.stop();
});

test('authors are shown by their DIDs at first, and by their names when those are known', async () => {
  const watched = await open(browser, search({ q: 'the' }), { base: server.base });
  const { page } = watched;
  await settled(page);
  const rows = page.locator('table.posts tbody tr');
  const nameless = rows.filter({ has: page.locator('.author-handle', { hasText: 'did:plc' }) });
  assert.ok((await nameless.count()) > 0, 'the lake has not heard of them');
  const texts = await page.locator('.post-text').allTextContents();
  release();
  await rows.filter({ has: page.locator('.author-name', { hasText: "Ann <b>O'Nym</b>" }) }).first().waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('table.posts .author-handle')].every((handle) => handle.textContent.startsWith('@')));
  assert.deepEqual(await page.locator('.post-text').allTextContents(), texts, 'the posts stay where they are');
  const first = rows.first().locator('.author-handle');
  const handle = (await first.textContent()).slice(1);
  await page.goto(`${server.base}/${search({ q: `from:${handle}` })}`);
  await settled(page);
  assert.ok((await rows.count()) > 0, 'and they are found by their handles');
  await watched.close();
});
