// A browser for a test file, and pages that notice what must never happen: a request to a stranger, a breach of the content security
// policy, an error in a script.
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const BASE = process.env.BL_WEB_BASE;
export const SCREENSHOTS = fileURLToPath(new URL('../../build/screenshots/', import.meta.url));
// Promises about time hold on a machine of one's own; on a slow one that others use as well they only must not be far off.
export const SLACK = process.env.BL_WEB_STRICT ? 1 : 10;
mkdirSync(SCREENSHOTS, { recursive: true });

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGUMENTS });

export class Watched {
  breaches = [];
  constructor(context, page, base, api = base) {
    this.context = context;
    this.page = page;
    this.base = base;
    page.on('request', (request) => {
      if (![`${base}/`, `${api}/`, `blob:${base}/`].some((known) => request.url().startsWith(known))) this.breaches.push(`request to ${request.url()}`);
    });
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to/i.test(message.text())) this.breaches.push(message.text());
    });
    page.on('pageerror', (error) => this.breaches.push(`script error: ${error.stack}`));
    page.on('dialog', (dialog) => {
      this.breaches.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }
  async breachesSeen() {
    const inPage = await this.page.evaluate(() => [...(window.__breaches ?? []), ...(window.hacked ? [`hacked ${window.hacked}`] : [])]);
    return [...this.breaches, ...inPage];
  }
  async close() {
    const seen = await this.breachesSeen();
    await this.context.close();
    if (seen.length > 0) throw new Error(seen.join('\n'));
  }
}

export async function open(browser, hash = '', { width = 1280, height = width < 768 ? 812 : 860, scheme = 'light', base = BASE, api = base, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, acceptDownloads: true, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  await page.addInitScript(() => {
    window.__breaches = [];
    document.addEventListener('securitypolicyviolation', (event) => window.__breaches.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const watched = new Watched(context, page, base, api);
  await page.goto(`${base}/${hash}`);
  return watched;
}

export const search = (parameters) => `#/search?${new URLSearchParams(parameters)}`;

/** The page has nothing more to wait for. */
export async function settled(page) {
  await page.waitForFunction(() => ![...document.querySelectorAll('[aria-busy="true"], .bone')].some((each) => each.checkVisibility()));
  await page.waitForLoadState('networkidle').catch(() => undefined);
}

/** RFC 4180. */
export function parseCsv(text) {
  const rows = [];
  let row = [];
  let cell = '';
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (quoted) {
      if (c === '"' && text[at + 1] === '"') cell += text[++at];
      else if (c === '"') quoted = false;
      else cell += c;
    } else if (c === '"') quoted = true;
    else if (c === ',') {
      row.push(cell);
      cell = '';
    } else if (c === '\n') {
      rows.push([...row, cell.replace(/\r$/, '')]);
      row = [];
      cell = '';
    } else cell += c;
  }
  if (quoted) throw new Error('a quote is not closed');
  if (cell || row.length > 0) rows.push([...row, cell]);
  return rows;
}
