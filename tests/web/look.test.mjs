// What can be measured of how it looks: nothing sticks out, everything can be hit with a thumb, axe has nothing to say. Screenshots go to
// build/screenshots for people.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { launch, open, SCREENSHOTS, search, settled } from './page.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const VIEWS = {
  start: '#/search',
  results: search({ q: 'coffee lang:en' }),
  empty: search({ q: 'qqqqqqqqzzzz' }),
  wrong: search({ q: 'cats form:alice.example.com' }),
  hostile: search({ q: 'xylophone' }),
  cited: search({ q: 'coffee', asof: '2026-01-05T12:00:00Z', cited: '700.1.1767571300.00000000' }),
  explore: '#/explore',
  collection: '#/collection',
};
const TARGETS = 'button, summary, input:not(.switch):not(.check), select, .field-switch label, .csv-options label, .tab, .brand, .view-link, .bottom a, .chip';

async function ready(page, name) {
  if (name === 'collection') await page.getByText('Snapshot').waitFor();
  if (name === 'wrong') await page.locator('.pointed').waitFor();
  await settled(page);
  if (name === 'cited') {
    await page.getByRole('button', { name: 'Cite' }).click();
    await page.locator('.citation').waitFor();
  }
}

for (const width of [375, 768, 1280])
  for (const scheme of ['light', 'dark'])
    for (const [name, hash] of Object.entries(VIEWS))
      test(`${name}, ${width} px, ${scheme}`, async () => {
        const watched = await open(browser, hash, { width, scheme });
        const { page } = watched;
        await ready(page, name);
        await page.screenshot({ path: `${SCREENSHOTS}${name}-${width}-${scheme}.png`, fullPage: true });
        const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(tooWide <= 0, `${tooWide} px too wide`);
        const small = await page.$$eval(TARGETS, (all) =>
          all
            .map((each) => ({ each, box: each.getBoundingClientRect() }))
            .filter(({ each, box }) => box.width > 0 && each.checkVisibility() && !each.closest('.skip') && (box.height < 43.5 || box.width < 43.5))
            .map(({ each, box }) => `${each.outerHTML.slice(0, 90)} ${Math.round(box.width)}x${Math.round(box.height)}`),
        );
        assert.deepEqual(small, []);
        // Inside of details as well.
        await page.$$eval('details', (all) => all.forEach((each) => (each.open = true)));
        await page.evaluate(axe);
        const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
        const said = found.violations.map((each) => `${each.id}: ${each.help}\n${each.nodes.slice(0, 5).map((node) => `  ${node.html.slice(0, 160)} ${node.failureSummary}`).join('\n')}`);
        assert.equal(said.join('\n'), '');
        await watched.close();
      });
