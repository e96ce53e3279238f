// The download of everything that matches. The bytes pass through the page, so that it can show how far they are and tell a whole file
// from one that broke off: the server ends the connection without an end in that case, and nothing is saved.
import { ApiError, request, wasAborted } from '../api';
import { h, icon, replace, saveAs, uniqueId } from '../dom';
import { bytes, count, day, plural } from '../format';
import { toFilters, type Query } from './query';

type Format = 'csv' | 'ndjson' | 'parquet';
const FORMATS: Record<Format, { label: string; type: string }> = {
  csv: { label: 'CSV', type: 'text/csv;charset=utf-8' },
  ndjson: { label: 'NDJSON', type: 'application/x-ndjson' },
  parquet: { label: 'Parquet', type: 'application/vnd.apache.parquet' },
};
const REDRAW_MS = 150;
const HASHED_MAX = 512e6; // the browser hashes a whole file at once

/** Rows so far. A line break inside of quotes belongs to a value; the first line of a CSV file is its header. */
export function rowCounter(format: Format): (chunk: Uint8Array) => number | null {
  let rows = format === 'csv' ? -1 : 0;
  let quoted = false;
  return (chunk) => {
    if (format === 'parquet') return null;
    for (const byte of chunk) {
      if (byte === 0x22 && format === 'csv') quoted = !quoted;
      else if (byte === 0x0a && !quoted) rows++;
    }
    return Math.max(0, rows);
  };
}

interface Progress {
  rows: number | null;
  bytes: number;
}

async function receive(response: Response, format: Format, progress: (now: Progress) => void): Promise<{ blob: Blob } & Progress> {
  const rowsAfter = rowCounter(format);
  const reader = response.body!.getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const now: Progress = { rows: format === 'parquet' ? null : 0, bytes: 0 };
  let drawn = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    now.bytes += value.length;
    now.rows = rowsAfter(value);
    if (performance.now() - drawn > REDRAW_MS) {
      drawn = performance.now();
      progress(now);
    }
  }
  return { blob: new Blob(parts, { type: FORMATS[format].type }), ...now };
}

/** What `sha256sum` says of the file; null where the browser offers no hashing (plain http) or the file is very large. */
async function sha256(blob: Blob): Promise<string | null> {
  if (!globalThis.crypto?.subtle || blob.size > HASHED_MAX) return null;
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await blob.arrayBuffer()));
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

export interface ExportControl {
  element: HTMLElement;
  panel: HTMLElement;
  setQuery(query: Query, expected: number | null): void;
}

export function exportControl(): ExportControl {
  let query: Query | null = null;
  let expected: number | null = null;
  let running: AbortController | null = null;
  const formatId = uniqueId('format');
  const format = h('select', { id: formatId, class: 'input compact' });
  for (const [value, { label }] of Object.entries(FORMATS)) format.append(h('option', { value }, label));
  const words = h('span', {}, 'Export as CSV');
  const button = h('button', { type: 'button', class: 'button primary' }, icon('download'), words);
  const raw = h('input', { type: 'checkbox', class: 'check', checked: true });
  const bom = h('input', { type: 'checkbox', class: 'check' });
  const csvOptions = h('div', { class: 'csv-options' }, h('label', {}, raw, 'Defuse spreadsheet formulas'), h('label', {}, bom, 'Byte order mark (Excel)'));
  const bar = h('progress', { 'aria-label': 'Export' });
  const said = h('p', { role: 'status', class: 'export-said' });
  const cancel = h('button', { type: 'button', class: 'button quiet', onclick: () => running?.abort() }, 'Cancel');
  const working = h('div', { class: 'export-working', hidden: true }, bar, cancel);
  const panel = h('div', { class: 'export-panel', hidden: true }, said, working);

  const progress = (now: Progress): void => {
    if (expected && now.rows !== null) {
      bar.max = expected;
      bar.value = Math.min(now.rows, expected);
    }
    said.textContent = `Exporting: ${now.rows === null ? '' : `${count(now.rows)}${expected ? ` of ${count(expected)}` : ''} rows, `}${bytes(now.bytes)}`;
  };
  const finish = async (blob: Blob, got: Progress, chosen: Format, response: Response): Promise<void> => {
    const name = `bluesky-posts-${day(new Date())}.${chosen}`;
    saveAs(blob, name);
    const cut = response.headers.get('X-Truncated') === 'true' ? ' The server gives no more rows than these: narrow the dates to get the rest.' : '';
    const other = !cut && expected !== null && got.rows !== null && got.rows !== expected ? ` ${count(expected)} were counted before: the lake has changed in between.` : '';
    const hash = await sha256(blob);
    replace(said, `Saved ${name}: ${got.rows === null ? '' : `${plural(got.rows, 'row')}, `}${bytes(got.bytes)}.${cut}${other}`, hash && ' SHA-256 ', hash && h('code', {}, hash));
  };
  const run = async (): Promise<void> => {
    if (!query || running) return;
    const chosen = format.value as Format;
    running = new AbortController();
    const parameters = toFilters(query);
    parameters.set('format', chosen);
    if (chosen === 'csv' && !raw.checked) parameters.set('raw', '1');
    if (chosen === 'csv' && bom.checked) parameters.set('bom', '1');
    panel.hidden = false;
    working.hidden = false;
    panel.classList.remove('wrong');
    bar.removeAttribute('value');
    button.setAttribute('aria-disabled', 'true');
    said.textContent = 'Exporting…';
    let got: Progress = { rows: 0, bytes: 0 };
    try {
      const response = await request('/export', parameters, running.signal);
      const whole = await receive(response, chosen, (now) => progress((got = now)));
      await finish(whole.blob, whole, chosen, response);
    } catch (error) {
      panel.classList.add('wrong');
      said.textContent = explain(error, got);
    } finally {
      running = null;
      working.hidden = true;
      button.setAttribute('aria-disabled', 'false');
    }
  };
  button.addEventListener('click', () => void run());
  format.addEventListener('change', () => {
    words.textContent = `Export as ${FORMATS[format.value as Format].label}`;
    csvOptions.hidden = format.value !== 'csv';
  });

  const options = h('details', { class: 'menu' }, h('summary', { class: 'button quiet' }, 'Options'), h('div', { class: 'menu-body' }, h('label', { for: formatId }, 'Format'), format, csvOptions));
  return {
    element: h('div', { class: 'export' }, button, options),
    panel,
    setQuery(next, total) {
      query = next;
      expected = total;
      if (!running) panel.hidden = true;
    },
  };
}

function explain(error: unknown, got: Progress): string {
  if (wasAborted(error)) return 'Export cancelled. Nothing was saved.';
  if (error instanceof ApiError) return `Export failed. ${error.message} ${error.cure ?? ''}`.trim();
  return `The export broke off after ${bytes(got.bytes)}. Nothing was saved; try again.`;
}
