// The whole way with the keyboard alone.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launch, open, parseCsv, settled } from './page.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const focused = (page) =>
  page.evaluate(() => {
    const at = document.activeElement;
    return (at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent).trim();
  });

async function tabTo(page, wanted, limit = 80) {
  const seen = [];
  for (let n = 0; n < limit; n++) {
    await page.keyboard.press('Tab');
    const label = await focused(page);
    seen.push(label);
    if (label.startsWith(wanted)) return seen;
  }
  throw new Error(`${wanted} was not reached: ${seen.join(' | ')}`);
}

test('the order of focus is the order on the page', async () => {
  const watched = await open(browser);
  const order = await tabTo(watched.page, 'Toxicity');
  const wanted = ['Skip to content', 'Bluesky Post Explorer', 'Search', 'Explore', 'Collection', 'Search', 'Search Posts', 'Username', 'Start date', 'End date', 'Language', 'Exact match only', 'Search operators', 'Political', 'Outrage', 'Toxicity'];
  let at = 0;
  for (const label of order) if (label.startsWith(wanted[at])) at++;
  assert.equal(at, wanted.length, `${wanted[at]} is missing in ${order.join(' | ')}`);
  assert.equal(await watched.page.locator('.tooltip', { hasText: 'Coming soon!' }).last().isVisible(), true);
  await watched.close();
});

test('search, turn the page, open a post and export without a mouse', async () => {
  const watched = await open(browser);
  const { page } = watched;
  await tabTo(page, 'Skip to content');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.type('coffee');
  await page.keyboard.press('Enter');
  await page.locator('table.posts').waitFor();
  await settled(page);
  await tabTo(page, 'Export as CSV');
  const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);
  assert.ok(parseCsv(await readFile(await download.path(), 'utf8')).length > 10);
  await tabTo(page, 'Next', 200);
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  await page.keyboard.press('Space');
  await page.locator('.pager', { hasText: 'Page 2' }).waitFor();
  await watched.close();
});

test('going to another view moves the focus into it and names it', async () => {
  const watched = await open(browser);
  const { page } = watched;
  await tabTo(page, 'Explore');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'What is going on' }).waitFor();
  assert.equal(await page.title(), 'Explore · Bluesky Post Explorer');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await settled(page);
  await tabTo(page, 'Week');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-pressed')), 'true');
  await watched.close();
});
