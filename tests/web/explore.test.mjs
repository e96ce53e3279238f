import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { BASE, launch, open, parseCsv, settled } from './page.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const VIEWS = ['posts_by_hour_24h', 'peak_hours', 'post_length', 'trending_hashtags_hourly', 'languages', 'most_liked', 'viral', 'most_active_daily', 'link_domains', 'network_growth', 'like_to_post_ratio', 'engagement_velocity', 'engagement_rates'];

test('every view is drawn, is there as a table with the same rows, and can be saved', async () => {
  const watched = await open(browser, '#/explore');
  const { page } = watched;
  await settled(page);
  assert.deepEqual(await page.$$eval('.panel', (all) => all.map((panel) => panel.dataset.view).sort()), [...VIEWS].sort());
  for (const name of VIEWS) {
    const panel = page.locator(`.panel[data-view="${name}"]`);
    const view = await (await fetch(`${BASE}/views/${name}?format=json`)).json();
    if (name === 'most_liked') view.rows = view.rows.filter((row) => row[view.columns.indexOf('period')] === 'day');
    if (view.rows.length === 0) {
      assert.match(await panel.textContent(), /Nothing to show yet/, name);
      continue;
    }
    const drawn = await panel.locator('canvas, .heat, table.ranking, .top-posts').count();
    assert.ok(drawn > 0, `${name} is drawn`);
    await panel.locator('.as-table > summary').click();
    await panel.locator('.as-table table').waitFor();
    assert.equal(await panel.locator('.as-table tbody tr').count(), view.rows.length, name);
    assert.equal(await panel.locator('.as-table thead th[scope=col]').count(), view.columns.length, name);
    const [download] = await Promise.all([page.waitForEvent('download'), panel.getByRole('button', { name: /^Download CSV/ }).click()]);
    const rows = parseCsv(await readFile(await download.path(), 'utf8'));
    assert.equal(rows.length, view.rows.length + 1, name);
  }
  await watched.close();
});

test('a picture says in words what it shows', async () => {
  const watched = await open(browser, '#/explore');
  await settled(watched.page);
  const labels = await watched.page.$$eval('[role=img]', (all) => all.map((each) => each.getAttribute('aria-label')));
  assert.ok(labels.length >= 5);
  for (const label of labels) assert.match(label, /most|no values/i);
  await watched.close();
});

test('another period is another view', async () => {
  const watched = await open(browser, '#/explore');
  const { page } = watched;
  await settled(page);
  const panel = page.locator('.panel[data-view="trending_hashtags_hourly"]');
  const [answer] = await Promise.all([page.waitForResponse(/trending_hashtags_weekly/), panel.getByRole('button', { name: 'Week' }).click()]);
  assert.equal(answer.status(), 200);
  await settled(page);
  const first = await panel.locator('table.ranking tbody th a').first();
  assert.match(await first.getAttribute('href'), /^#\/search\?q=%23/);
  await watched.close();
});

test('a view that fails leaves the others alone', async () => {
  const { startProxy, json } = await import('./proxy.mjs');
  const proxy = await startProxy(BASE, (url, _request, response) => url.pathname === '/views/languages' && (json(response, 503, { error: { message: 'Not computed yet.' } }), true));
  const watched = await open(browser, '#/explore', { base: proxy.base });
  await settled(watched.page);
  assert.match(await watched.page.textContent('.panel[data-view="languages"] [role=alert]'), /Not computed yet\./);
  assert.equal(await watched.page.locator('.panel [role=alert]').count(), 1);
  await watched.close();
  await proxy.stop();
});
