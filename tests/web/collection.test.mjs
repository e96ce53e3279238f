import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BASE, launch, open } from './page.mjs';
import { forward, json, startProxy } from './proxy.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const tile = (page, name) => page.locator('.tile', { has: page.locator('dt', { hasText: name }) });

test('totals, types and gaps are those of the server', async () => {
  const watched = await open(browser, '#/collection');
  const { page } = watched;
  const status = await (await fetch(`${BASE}/status`)).json();
  await page.getByText(`Snapshot ${status.snapshot}`).waitFor();
  assert.match(await tile(page, 'Recorded').textContent(), new RegExp(`${status.totals.rows.toLocaleString('en-US')} events in ${status.totals.files.toLocaleString('en-US')} files`));
  assert.match(await tile(page, 'Rate').textContent(), /not collecting/);
  const rows = await page.getByRole('table', { name: 'Events by type' }).locator('tbody tr').count();
  assert.equal(rows, status.types.length);
  assert.equal(await page.locator('.strip .hole').count(), 1);
  assert.match(await page.getByRole('table', { name: 'Gaps' }).textContent(), /2026-01-05 00:01:00/);
  await watched.close();
});

test('figures of a running collection come again and again, with rate, lag and room left', async () => {
  let asked = 0;
  const live = (text) => {
    asked++;
    return JSON.stringify({ ...JSON.parse(text), ingest: { ok: true }, writer: { ok: true }, rate_per_second: 300 + asked, lag_seconds: 2.5, last_commit_age_seconds: 30, last_commit: new Date().toISOString(), buffer: { events: 18000, memory: 20e6, maxmemory: 2e9, percent: 85, hours_left: 1.4 }, dead_letters: 3, dead_letters_by_reason: [{ reason: 'bad_json', count: 3 }] });
  };
  const proxy = await startProxy(BASE, (url, request, response) => url.pathname === '/status' && (forward(url, request, response, live), true));
  const watched = await open(browser, '#/collection', { base: proxy.base });
  const { page } = watched;
  await page.locator('.panel canvas').waitFor();
  const first = await tile(page, 'Rate').locator('.tile-value').textContent();
  await page.waitForFunction((before) => document.querySelector('.tile .tile-value').textContent !== before, first);
  assert.equal(await tile(page, 'Lag').locator('.tile-value').textContent(), '2.5 s');
  assert.match(await tile(page, 'Buffer').textContent(), /85 %18,000 events in 20\.0 MB of 2\.0 GB, 84 min left/);
  assert.equal(await tile(page, 'Buffer').getAttribute('data-level'), 'bad');
  assert.match(await page.getByRole('table', { name: 'Dead letters by reason' }).textContent(), /bad_json3/);
  await page.getByRole('link', { name: 'Search', exact: true }).click();
  const then = asked;
  await page.waitForTimeout(3500);
  assert.ok(asked <= then + 1, 'nothing is asked behind a view that is not shown');
  await watched.close();
  await proxy.stop();
});

test('a server that goes away is noticed, and noticed again when it returns', async () => {
  let away = false;
  const proxy = await startProxy(BASE, (url, _request, response) => away && url.pathname === '/status' && (json(response, 503, { error: { message: 'The lake cannot be read.' } }), true));
  const watched = await open(browser, '#/collection', { base: proxy.base });
  const { page } = watched;
  await page.getByText('Snapshot').waitFor();
  away = true;
  await page.locator('.trouble [role=alert]').waitFor();
  await page.getByText('These figures are old.').waitFor();
  away = false;
  await page.locator('.trouble [role=alert]').waitFor({ state: 'detached' });
  await watched.close();
  await proxy.stop();
});
