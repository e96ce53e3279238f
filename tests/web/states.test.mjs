// Every state between a question and its answer, with a proxy that spoils the real server's answers.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BASE, launch, open, search, settled } from './page.mjs';
import { forward, json, startProxy } from './proxy.mjs';

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

async function spoiled(spoil, hash, then) {
  const proxy = await startProxy(BASE, spoil);
  try {
    const watched = await open(browser, hash, { base: proxy.base });
    await then(watched.page, watched);
    await watched.close();
  } finally {
    await proxy.stop();
  }
}

test('loading shows a skeleton, blocks a second submit, and after a while says that it is slow', async () => {
  let asked = 0;
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const spoil = (url, request, response) => {
    if (url.pathname !== '/search') return false;
    asked++;
    void held.then(() => forward(url, request, response));
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await page.locator('.skeleton').waitFor();
    const button = page.getByRole('button', { name: 'Search Posts' });
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    await button.click({ force: true });
    await page.getByPlaceholder('Search by text or hashtag').press('Enter');
    assert.equal(asked, 1);
    await page.getByText('Still searching').waitFor();
    release();
    await settled(page);
    assert.equal(await page.locator('table.posts tbody tr').count(), 10);
    assert.equal(await button.getAttribute('aria-disabled'), 'false');
  });
});

test('a slow search can be cancelled', async () => {
  let ended = false;
  const spoil = (url, request, response) => {
    if (url.pathname !== '/search') return false;
    response.on('close', () => (ended = true));
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('Search cancelled').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.skeleton').length === 0);
    assert.equal(await page.getByRole('button', { name: 'Search Posts' }).getAttribute('aria-disabled'), 'false');
    for (const end = Date.now() + 5000; !ended && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(ended, 'the request is given up');
  });
});

test('a busy server is quoted, with its cure, its patience and the request’s id; trying again works', async () => {
  let busy = true;
  const spoil = (url, _request, response) => {
    if (url.pathname !== '/search' || !busy) return false;
    busy = false;
    json(response, 503, { error: { code: 'busy', message: 'Too many questions at once.', cure: 'Ask again soon.' } }, { 'retry-after': '7' });
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    const alert = page.locator('.failed[role=alert]');
    await alert.waitFor();
    assert.match(await alert.textContent(), /Too many questions at once\..*Ask again soon\. It can be asked again in 7 s\..*request-of-the-test/s);
    await page.getByRole('button', { name: 'Try again' }).click();
    await settled(page);
    assert.equal(await page.locator('table.posts tbody tr').count(), 10);
  });
});

test('a server that is gone is said to be gone', async () => {
  const spoil = (url, _request, response) => url.pathname === '/search' && (response.destroy(), true);
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await page.getByText('The server does not answer.').waitFor();
  });
});

test('rows are shown when only the counting fails', async () => {
  const spoil = (url, _request, response) => url.pathname === '/counts' && (json(response, 504, { error: { message: 'It took too long.' } }), true);
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await page.getByText('The posts could not be counted: It took too long.').waitFor();
    await page.locator('table.posts').waitFor();
    assert.match(await page.textContent('.summary'), /^10 of … results/);
  });
});

test('no results: said so, and announced', async () => {
  const watched = await open(browser, search({ q: 'qqqqqqqqzzzz' }));
  await watched.page.locator('.state-title', { hasText: 'No results found' }).waitFor();
  assert.equal(await watched.page.textContent('[role=status].summary'), 'No results found');
  assert.equal(await watched.page.getByRole('button', { name: 'Export as CSV' }).isVisible(), false);
  await watched.close();
});

test('a gap in the recording is stated with the answer it touches, and only with that', async () => {
  const watched = await open(browser, search({ q: 'coffee' }));
  await watched.page.getByText('The recording has 1 gap in this range').waitFor();
  assert.match(await watched.page.textContent('.notice.warning'), /2026-01-05 00:01:00 to 2026-01-05 00:01:30 UTC \(30 s\): test/);
  await watched.close();
  const elsewhere = await open(browser, search({ q: 'zanzibar', start: '2026-01-06', end: '2026-01-06' }));
  await settled(elsewhere.page);
  assert.equal(await elsewhere.page.locator('.notice.warning').count(), 0);
  await elsewhere.close();
});

test('an answer that was cut, and a count that is a lower bound, say so', async () => {
  const spoil = (url, request, response) => {
    if (url.pathname === '/search') forward(url, request, response, (text) => JSON.stringify({ ...JSON.parse(text), meta: { ...JSON.parse(text).meta, truncated: true, has_more: false, next_cursor: null } }));
    else if (url.pathname === '/counts') forward(url, request, response, (text) => JSON.stringify({ ...JSON.parse(text), partial: true }));
    else return false;
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await settled(page);
    await page.getByText('No more than the newest 1,000 results').waitFor();
    assert.match(await page.textContent('.summary'), /^10 of at least /);
  });
});

test('a server with keys asks for one, uses it, and keeps it for the tab', async () => {
  const spoil = (url, request, response) => {
    if (!['/search', '/counts'].includes(url.pathname) || request.headers.authorization === 'Bearer open-sesame') return false;
    json(response, 401, { error: { code: 'no_key', message: 'A key is needed.', cure: 'Send one.' } });
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await page.getByLabel('API key').fill('open-sesame');
    await page.getByRole('button', { name: 'Use this key' }).click();
    await settled(page);
    assert.equal(await page.locator('table.posts tbody tr').count(), 10);
    await page.reload();
    await settled(page);
    assert.equal(await page.locator('table.posts tbody tr').count(), 10);
  });
});

test('an export that breaks off saves nothing and says so', async () => {
  const spoil = (url, _request, response) => {
    if (url.pathname !== '/export') return false;
    response.writeHead(200, { 'content-type': 'text/csv' });
    response.write('timestamp,username,text\r\n2026-01-05T00:00:00Z,a,b\r\n', () => setTimeout(() => response.destroy(), 100));
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await settled(page);
    let saved = false;
    page.on('download', () => (saved = true));
    await page.getByRole('button', { name: 'Export as CSV' }).click();
    await page.getByText('The export broke off').waitFor();
    assert.equal(saved, false);
  });
});

test('an export shows how far it is, and can be cancelled', async () => {
  const spoil = (url, _request, response) => {
    if (url.pathname !== '/export') return false;
    response.writeHead(200, { 'content-type': 'text/csv' });
    const timer = setInterval(() => response.write('2026-01-05T00:00:00Z,a,"quoted\nbreak"\r\n'), 20);
    response.on('close', () => clearInterval(timer));
    return true;
  };
  await spoiled(spoil, search({ q: 'coffee' }), async (page) => {
    await settled(page);
    await page.getByRole('button', { name: 'Export as CSV' }).click();
    await page.getByText(/Exporting: \d+ of [\d,]+ rows, /).waitFor();
    await page.locator('progress[value]').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('Export cancelled. Nothing was saved.').waitFor();
  });
});
