// What strangers write stays text.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ALICE, HOSTILE, LINKED } from './fixture.mjs';
import { launch, open, search, settled } from './page.mjs';

let browser;
let watched;
let page;
before(async () => {
  browser = await launch();
  watched = await open(browser, search({ q: `from:${ALICE.did} xylophone`, size: '50' }));
  page = watched.page;
  await settled(page);
});
after(() => browser.close());

const row = (text) => page.locator('table.posts tbody tr').filter({ hasText: text });

test('markup is shown, not run', async () => {
  const post = row('window.hacked = 1');
  assert.equal(await post.locator('.post-text').textContent(), HOSTILE.script);
  assert.equal(await page.locator('table.posts script, table.posts img, table.posts b, table.posts i').count(), 0);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
});

test('a name in markup and right-to-left marks stays inside its cell', async () => {
  const name = page.locator('.author-name').first();
  assert.equal(await name.textContent(), ALICE.name);
  assert.equal(await name.evaluate((node) => getComputedStyle(node).unicodeBidi), 'isolate');
  const text = row('override').locator('.post-text');
  assert.equal(await text.textContent(), HOSTILE.rtl);
  assert.equal(await text.evaluate((node) => getComputedStyle(node).unicodeBidi), 'isolate');
});

test('ten thousand characters without a blank are cut, can be opened, and do not widen the page', async () => {
  const post = row('AAAAAAAAAA');
  assert.ok((await post.locator('.post-text').textContent()).length < 200);
  await post.getByRole('button', { name: 'Show more' }).click();
  assert.equal(await post.locator('.post-text').textContent(), HOSTILE.long);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  await post.getByRole('button', { name: 'Show less' }).click();
  assert.ok((await post.locator('.post-text').textContent()).length < 200);
});

test('links cover the bytes of their facets, and facets that lie are ignored', async () => {
  const post = row('example.com/x');
  assert.equal(await post.locator('.post-text').textContent(), LINKED.text);
  const links = await post.locator('.post-text a').evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute('href'), a.rel]));
  assert.deepEqual(links, [
    ['example.com/x', 'https://example.com/x?a=1', 'noopener noreferrer nofollow ugc'],
    ['#caturday', '#/search?q=%23caturday', ''],
    ['@alice', `#/search?q=${encodeURIComponent(`from:${ALICE.did}`)}`, ''],
  ]);
});

test('no address of the page is anything but plain web, or the page itself', async () => {
  const schemes = await page.$$eval('a[href]', (all) => [...new Set(all.map((a) => new URL(a.href).protocol))]);
  assert.deepEqual(schemes.filter((scheme) => !['http:', 'https:'].includes(scheme)), []);
});

test('pictures are described, never fetched; a claimed date that is far off is named', async () => {
  assert.match(await row('with pictures').locator('.embeds').textContent(), /1 image <i>a cat<\/i>/);
  assert.match(await row('with a card').textContent(), /claims 1970-01-01/);
});

test('nothing was breached', () => watched.close());
