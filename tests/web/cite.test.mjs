// A link that others can check: what it names stays the same while posts come in, and it says when that is no longer so.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { PAGED, laterPost, removal } from './fixture.mjs';
import { launch, open, search, settled } from './page.mjs';
import { BINARY, importLines, startServer } from './server.mjs';

let browser, server, link, citation, snapshot, newest;
before(async () => {
  [browser, server] = await Promise.all([launch(), startServer(BINARY, 3000)]);
  ({ snapshot, newest } = await (await fetch(`${server.base}/status`)).json());
  const watched = await at(search({ q: PAGED.word }));
  await settled(watched.page);
  await watched.page.getByRole('button', { name: 'Cite' }).click();
  citation = await watched.page.locator('.citation').textContent();
  link = citation.slice(citation.indexOf('http'));
  await watched.close();
});
after(async () => {
  await browser.close();
  await server.stop();
});

const shown = (page) => page.$$eval('table.posts .post-text', (all) => all.map((each) => each.textContent));
const at = (hash) => open(browser, hash, { base: server.base, permissions: ['clipboard-read', 'clipboard-write'] });
const hashOf = (address) => address.slice(address.indexOf('#'));

/** Adds events and waits until the server has seen them. */
async function change(lines) {
  const snapshot = async () => (await (await fetch(`${server.base}/status`)).json()).snapshot;
  const before = await snapshot();
  await importLines(BINARY, server.lake, lines);
  for (const end = Date.now() + 30_000; (await snapshot()) === before; await new Promise((resolve) => setTimeout(resolve, 50))) assert.ok(Date.now() < end, 'the server sees the new snapshot');
}

test('a citation names search, number, time, snapshot and a link that leads back', async () => {
  const watched = await at(search({ q: PAGED.word }));
  const { page } = watched;
  await settled(page);
  await page.getByRole('button', { name: 'Cite' }).click();
  const text = await page.locator('.citation').textContent();
  assert.match(citation, new RegExp(`search for “${PAGED.word}”; ${PAGED.count} public posts of Bluesky, witnessed until ${newest.slice(0, 10)} [\\d:]{8} UTC\\..* Snapshot ${snapshot}, bluelake [\\d.]+, retrieved \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC\\. http`));
  await page.getByRole('button', { name: 'Copy citation' }).click();
  await page.getByText('Copied').waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
  assert.ok(link.startsWith(`${server.base}/#/search?`));
  await page.getByRole('button', { name: 'Copy as BibTeX' }).click();
  await page.getByText('Copied').last().waitFor();
  const entry = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(entry, new RegExp(`^@misc\\{bluesky-posts-\\d+,\n  title = \\{\\{Bluesky Post Explorer: search for “${PAGED.word}”\\}\\},\n  year = \\{\\d{4}\\},\n  note = \\{${PAGED.count} public posts .*\\},\n  url = \\{http.*\\},\n  urldate = `));
  await page.getByRole('button', { name: 'Cite' }).click();
  assert.equal(await page.locator('.cite-panel').isVisible(), false);
  await watched.close();
});

test('opened at once, the link finds the same and says so', async () => {
  const watched = await at(hashOf(link));
  await watched.page.getByText('The search still finds as many, day by day.').waitFor();
  await settled(watched.page);
  assert.match(await watched.page.textContent('.summary'), new RegExp(`of ${PAGED.count} results`));
  await watched.close();
});

test('what comes in later stays out of it, and is one click away', async () => {
  await change(laterPost(`${PAGED.word} late news`));
  const watched = await at(hashOf(link));
  const { page } = watched;
  await page.getByText('The search still finds as many, day by day.').waitFor();
  await settled(page);
  assert.ok(!(await shown(page)).includes(`${PAGED.word} late news`));
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  assert.doesNotMatch(await readFile(await download.path(), 'utf8'), /late news/);
  await page.getByRole('link', { name: 'Search up to now' }).click();
  await page.waitForFunction((count) => document.querySelector('.summary').textContent.includes(`of ${count} results`), PAGED.count + 1);
  assert.equal((await shown(page))[0], `${PAGED.word} late news`);
  assert.equal(await page.getByText('Only posts witnessed until').count(), 0);
  await watched.close();
});

test('a post that was deleted since is missed, aloud', async () => {
  const [post] = (await (await fetch(`${server.base}/search?${new URLSearchParams({ q: `"${PAGED.word} number 3"` })}`)).json()).results;
  await change(removal(post.uri));
  const watched = await at(hashOf(link));
  const notice = watched.page.locator('.notice.warning', { hasText: 'The data changed since.' });
  await notice.waitFor();
  assert.match(await notice.textContent(), new RegExp(`cites ${PAGED.count} posts, retrieved .* Today the same search finds ${PAGED.count - 1}: 1 fewer\\.`));
  await watched.close();
});

test('a link whose numbers make no sense is an ordinary search up to its time', async () => {
  const watched = await at(hashOf(link).replace(/cited=[^&]*/, 'cited=%3Cb%3E1'));
  await watched.page.getByText('Only posts witnessed until').waitFor();
  assert.equal(await watched.page.getByText('The data changed since.').count(), 0);
  await watched.close();
});

test('the page says the SHA-256 of a file it saved: that of the file, and that of the server’s trailer', async () => {
  const watched = await at(search({ q: PAGED.word }));
  const { page } = watched;
  await settled(page);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  const said = await page.locator('.export-said code').textContent();
  assert.equal(said, createHash('sha256').update(await readFile(await download.path())).digest('hex'));
  const trailers = await new Promise((resolve, reject) => {
    const request = http.get(`${server.base}/export?q=${PAGED.word}`, (answer) => answer.resume().on('end', () => resolve(answer.trailers)));
    request.on('error', reject);
  });
  assert.equal(trailers['x-content-sha256'], said);
  await watched.close();
});
