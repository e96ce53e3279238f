// What a visitor pays: bytes, and time until there is something to see.
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { BASE, launch, open, search, settled, SLACK } from './page.mjs';

const DIST = fileURLToPath(new URL('../../web/dist/', import.meta.url));
let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

test('the whole bundle is below 250 KB gzipped', async () => {
  let total = 0;
  for (const entry of await readdir(DIST, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) total += gzipSync(await readFile(`${entry.parentPath ?? entry.path}/${entry.name}`)).length;
  console.log(`bundle: ${total} bytes gzipped`);
  assert.ok(total < 250_000, `${total} bytes`);
});

test('the lock files name no registry: whoever installs uses his own', async () => {
  for (const folder of ['../../web/', './']) assert.doesNotMatch(await readFile(new URL(`${folder}package-lock.json`, import.meta.url), 'utf8'), /"resolved"/);
});

test('the binary serves exactly what was built', async () => {
  const served = await (await fetch(`${BASE}/`)).text();
  assert.equal(served, await readFile(`${DIST}index.html`, 'utf8'));
});

test('the policy of the page allows no inline script or style, no eval, no other origin', async () => {
  const answer = await fetch(`${BASE}/`);
  const policy = answer.headers.get('content-security-policy');
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"])
    assert.ok(policy.split(/; */).includes(part), `${part} in ${policy}`);
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
  assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
  assert.ok(answer.headers.get('referrer-policy'));
  assert.doesNotMatch(await answer.text(), /<script(?![^>]*src=)|<style|style=|javascript:/);
});

test('it is there quickly and does not jump', async () => {
  const watched = await open(browser, search({ q: 'coffee' }));
  const { page } = watched;
  await settled(page);
  const measured = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const result = { lcp: 0, cls: 0, fcp: performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0 };
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => (result.lcp = entry.startTime))).observe({ type: 'largest-contentful-paint', buffered: true });
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => (result.cls += entry.hadRecentInput ? 0 : entry.value))).observe({ type: 'layout-shift', buffered: true });
        setTimeout(() => resolve(result), 300);
      }),
  );
  console.log(`first paint ${Math.round(measured.fcp)} ms, largest ${Math.round(measured.lcp)} ms, shift ${measured.cls.toFixed(3)}`);
  assert.ok(measured.fcp > 0 && measured.fcp < 1800 * SLACK);
  assert.ok(measured.lcp < 2500 * SLACK);
  assert.ok(measured.cls < 0.1);
  await watched.close();
});
