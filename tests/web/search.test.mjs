import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { ALICE, DAY, PAGED } from './fixture.mjs';
import { BASE, launch, open, parseCsv, search, settled, SLACK } from './page.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const api = async (path, parameters) => (await fetch(`${BASE}${path}?${new URLSearchParams(parameters)}`)).json();
const shown = (page) => page.$$eval('table.posts tbody tr', (rows) => rows.map((row) => row.querySelector('time').dateTime + ' ' + row.querySelector('.post-text').textContent));
const summary = (page) => page.textContent('.summary');

async function ask(page, text) {
  await page.getByPlaceholder('Search by text or hashtag').fill(text);
  await page.getByRole('button', { name: 'Search Posts' }).click();
  await settled(page);
}

test('the texts of the specification are there', async () => {
  const { page, ...watched } = await open(browser);
  assert.equal(await page.title(), 'Bluesky Post Explorer');
  assert.equal((await page.textContent('header .brand')).trim(), 'Bluesky Post Explorer');
  assert.equal(await page.getByRole('button', { name: 'Settings' }).isDisabled(), true);
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('header')).position), 'fixed');
  for (const placeholder of ['Search by text or hashtag', 'Filter by username']) assert.equal(await page.getByPlaceholder(placeholder).count(), 1);
  for (const label of ['Start date', 'End date', 'Language', 'Exact match only']) assert.equal(await page.getByLabel(label).count(), 1, label);
  assert.equal(await page.getByRole('button', { name: 'Search Posts' }).count(), 1);
  for (const name of ['Political', 'Outrage', 'Toxicity']) {
    const button = page.getByRole('switch', { name });
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    assert.equal(await button.getAttribute('title'), 'Coming soon!');
  }
  for (const name of ['GitHub', 'Contact', 'API docs']) assert.equal(await page.getByRole('contentinfo').getByRole('link', { name }).count(), 1);
  await watched.context.close();
});

test('nothing is asked before the form is right, and messages go when their cause does', async () => {
  const watched = await open(browser);
  const { page } = watched;
  const asked = [];
  page.on('request', (request) => /\/(search|counts)\?/.test(request.url()) && asked.push(request.url()));
  await page.getByRole('button', { name: 'Search Posts' }).click();
  const box = page.getByPlaceholder('Search by text or hashtag');
  const fault = page.locator('.field-q [role=alert]');
  assert.match(await fault.textContent(), /Enter some text/);
  assert.equal(await box.getAttribute('aria-describedby'), await fault.getAttribute('id'));
  assert.equal(await box.evaluate((input) => input === document.activeElement), true);
  await box.fill('cats');
  assert.equal(await fault.textContent(), '');

  await page.getByLabel('Start date').fill('2026-01-09');
  await page.getByLabel('End date').fill('2026-01-08');
  await page.getByLabel('Username').fill('no spaces!');
  await box.press('Enter');
  await page.getByText('End date must be after start date').waitFor();
  await page.getByText('Only letters, digits').waitFor();
  await page.getByLabel('End date').fill('2026-01-09');
  assert.equal(await page.getByText('End date must be after start date').count(), 0);
  assert.deepEqual(asked, []);
  await watched.close();
});

for (const username of [ALICE.handle, `@${ALICE.handle}`, ALICE.did])
  test(`the username may be ${username}`, async () => {
    const watched = await open(browser);
    await watched.page.getByLabel('Username').fill(username);
    await ask(watched.page, 'xylophone');
    assert.equal((await shown(watched.page)).length, 7);
    assert.match(await summary(watched.page), /^7 of 7 results/);
    await watched.close();
  });

test('an unknown username is no error: nothing is found, and the reason is given', async () => {
  const watched = await open(browser);
  await watched.page.getByLabel('Username').fill('nobody.example.org');
  await ask(watched.page, 'xylophone');
  await watched.page.locator('.state-title', { hasText: 'No results found' }).waitFor();
  assert.match(await watched.page.textContent('.results-body'), /nobody\.example\.org/);
  await watched.close();
});

test('results equal the API, page by page, and the address of a page leads back to it', async () => {
  const watched = await open(browser);
  const { page } = watched;
  await ask(page, PAGED.word);
  const all = (await api('/search', { q: PAGED.word, limit: 100 })).results;
  assert.equal(all.length, PAGED.count);
  const expected = all.map((post) => `${post.timestamp} ${post.text}`);
  assert.equal(await summary(page), `10 of ${PAGED.count} results`);
  assert.deepEqual(await shown(page), expected.slice(0, 10));
  assert.deepEqual(await page.$$eval('table.posts mark', (marks) => [...new Set(marks.map((mark) => mark.textContent))]), [PAGED.word]);
  await page.getByRole('button', { name: 'Next' }).click();
  await page.locator('.pager', { hasText: 'Page 2' }).waitFor();
  await settled(page);
  assert.deepEqual(await shown(page), expected.slice(10, 20));
  const second = await page.evaluate(() => location.hash);
  await page.getByRole('button', { name: 'Next' }).click();
  await page.locator('.pager', { hasText: 'Page 3' }).waitFor();
  await settled(page);
  assert.deepEqual(await shown(page), expected.slice(20));
  assert.equal(await page.getByRole('button', { name: 'Next' }).isDisabled(), true);
  await page.getByRole('button', { name: 'Previous' }).click();
  await page.locator('.pager', { hasText: 'Page 2' }).waitFor();
  await settled(page);
  assert.deepEqual(await shown(page), expected.slice(10, 20));

  const again = await open(browser, second);
  await settled(again.page);
  assert.deepEqual(await shown(again.page), expected.slice(10, 20));
  await again.page.getByRole('button', { name: 'Newest' }).click();
  await again.page.locator('.pager', { hasText: 'Page 1' }).waitFor();
  await settled(again.page);
  assert.deepEqual(await shown(again.page), expected.slice(0, 10));
  await again.page.goBack();
  await again.page.locator('.pager', { hasText: 'Page 2' }).waitFor();
  await again.close();
  await watched.close();
});

test('rows per page, dates, language and exact reach the server', async () => {
  const watched = await open(browser);
  const { page } = watched;
  await page.getByLabel('Start date').fill(DAY);
  await page.getByLabel('End date').fill(DAY);
  await page.getByLabel('Language').selectOption('en');
  await ask(page, PAGED.word);
  await page.getByLabel('Rows').selectOption('50');
  await page.waitForFunction((count) => document.querySelectorAll('table.posts tbody tr').length === count, PAGED.count);
  await page.getByLabel('Language').selectOption('ja');
  await ask(page, PAGED.word);
  assert.match(await page.textContent('.results-body'), /No results found/);
  await page.getByLabel('Language').selectOption('');
  await page.getByLabel('Exact match only').check();
  await ask(page, PAGED.word.toUpperCase());
  assert.match(await page.textContent('.results-body'), /No results found/);
  assert.match(await page.evaluate(() => location.hash), /exact=true/);
  await watched.close();
});

test('operators become chips, and a chip can be taken away', async () => {
  const watched = await open(browser);
  const { page } = watched;
  await page.getByPlaceholder('Search by text or hashtag').fill(`${PAGED.word} lang:en -has:reply #art "two words"`);
  assert.deepEqual(await page.$$eval('.chips .chip', (chips) => chips.map((chip) => chip.textContent)), ['lang: en', 'not has: reply', '#art', '“two words”']);
  await page.getByRole('button', { name: 'Remove “two words”' }).click();
  await page.getByRole('button', { name: 'Remove #art' }).click();
  assert.equal(await page.getByPlaceholder('Search by text or hashtag').inputValue(), `${PAGED.word} lang:en -has:reply`);
  await page.locator('.summary', { hasText: /^10 of 27/ }).waitFor();
  await page.getByText('Search operators').click();
  await page.getByRole('button', { name: 'Insert has:image' }).click();
  assert.match(await page.getByPlaceholder('Search by text or hashtag').inputValue(), / has:image$/);
  await watched.close();
});

test('a search that is wrong points at the character', async () => {
  const watched = await open(browser);
  await ask(watched.page, 'cats form:alice.example.com');
  const fault = watched.page.locator('.field-q [role=alert]');
  await watched.page.locator('.pointed').waitFor();
  assert.match(await fault.textContent(), /unknown operator/i);
  assert.equal(await watched.page.textContent('.pointed mark'), 'f');
  await watched.close();
});

test('the histogram adds up to the number of results, in its table as well', async () => {
  const watched = await open(browser, search({ q: 'coffee' }));
  const { page } = watched;
  await settled(page);
  const counts = await api('/counts', { q: 'coffee' });
  assert.ok(counts.total > 100);
  assert.equal(await summary(page), `10 of ${counts.total.toLocaleString('en-US')} results`);
  assert.equal(await page.locator('.histogram canvas').count(), 1);
  await page.locator('.histogram .as-table summary').click();
  await page.locator('.histogram table').waitFor();
  const cells = await page.$$eval('.histogram table tbody td', (all) => all.map((cell) => Number(cell.textContent.replaceAll(',', ''))));
  assert.equal(cells.reduce((sum, n) => sum + n, 0), counts.total);
  await watched.close();
});

test('the CSV file holds what the API says, under its dated name', async () => {
  const watched = await open(browser, search({ q: 'xylophone' }));
  const { page } = watched;
  await settled(page);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  assert.equal(download.suggestedFilename(), `bluesky-posts-${new Date().toISOString().slice(0, 10)}.csv`);
  const [header, ...rows] = parseCsv(await readFile(await download.path(), 'utf8'));
  const posts = (await api('/search', { q: 'xylophone', limit: 100 })).results;
  assert.deepEqual(header.slice(0, 5), ['timestamp', 'username', 'text', 'uri', 'did']);
  assert.equal(rows.length, posts.length);
  posts.forEach((post, at) => {
    const guarded = /^[=+\-@\t\r]/.test(post.text) ? `'${post.text}` : post.text;
    assert.deepEqual(rows[at].slice(0, 5), [post.timestamp, post.username, guarded, post.uri, post.did]);
  });
  await page.getByText(`Saved ${download.suggestedFilename()}: ${posts.length} rows`).waitFor();
  await watched.close();
});

test('NDJSON and Parquet can be chosen, and formulas left as they are', async () => {
  const watched = await open(browser, search({ q: 'xylophone' }));
  const { page } = watched;
  await settled(page);
  await page.getByText('Options').click();
  await page.getByLabel('Defuse spreadsheet formulas').uncheck();
  const save = async (button) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()]);
    return readFile(await download.path());
  };
  assert.ok(parseCsv((await save('Export as CSV')).toString()).some((row) => row[2]?.startsWith('=HYPERLINK')));
  await page.getByLabel('Format').selectOption('ndjson');
  const lines = (await save('Export as NDJSON')).toString().trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(lines.length, 7);
  await page.getByLabel('Format').selectOption('parquet');
  const file = await save('Export as Parquet');
  assert.equal(file.subarray(0, 4).toString() + file.subarray(-4).toString(), 'PAR1PAR1');
  await watched.close();
});

test('a thousand rows are exported in less than two seconds', async () => {
  const watched = await open(browser, search({ q: 'coffee' }));
  const { page } = watched;
  await settled(page);
  let took = Infinity;
  // The best of three: the machine may have other things to do.
  for (let n = 0; n < 3; n++) {
    const since = Date.now();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
    took = Math.min(took, Date.now() - since);
    const rows = parseCsv(await readFile(await download.path(), 'utf8')).length - 1;
    assert.ok(rows >= 1000, `${rows} rows`);
  }
  console.log(`a thousand rows and more in ${took} ms`);
  assert.ok(took < 2000 * SLACK, `${took} ms`);
  await watched.close();
});

test('a tag leads to its search, an author to the author', async () => {
  const watched = await open(browser, search({ q: 'xylophone #caturday' }));
  const { page } = watched;
  await settled(page);
  await page.locator('.author-handle').first().click();
  await page.waitForFunction((did) => location.hash.includes(encodeURIComponent(`from:${did}`)), ALICE.did);
  await settled(page);
  assert.equal(await page.getByPlaceholder('Search by text or hashtag').inputValue(), `from:${ALICE.did}`);
  assert.match(await summary(page), /^7 of 7/);
  await watched.close();
});
