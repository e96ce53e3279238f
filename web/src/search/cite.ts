// An answer as others can check it: the text of a citation with an address that leads back to the same posts, and to what changed since.
// The address ends the range at the newest event of that moment (asof), so that what comes in later stays out. It also carries what was
// found (cited): number of posts, snapshot of the lake, time, and a hash of the posts a day.
import { ApiError, get, wasAborted, type Counts, type Status } from '../api';
import { copyText, h, icon, replace } from '../dom';
import { count, moment, plural } from '../format';
import { notice } from '../states';
import { toAddress, toFilters, type Query } from './query';

export interface Found {
  total: number;
  snapshot: number;
  at: number; // seconds since 1970
  days: string;
}

/** FNV-1a over the number of posts a day: hours or days as buckets give the same. */
export function dayHash(counts: Counts): string {
  const days = new Map<string, number>();
  for (const { start, count } of counts.buckets) if (count > 0) days.set(start.slice(0, 10), (days.get(start.slice(0, 10)) ?? 0) + count);
  let hash = 0x811c9dc5;
  for (const c of [...days].sort().join(';')) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

export function readFound(text: string): Found | null {
  const match = /^(\d{1,12})\.(\d{1,12})\.(\d{9,11})\.([0-9a-f]{8})$/.exec(text);
  return match ? { total: Number(match[1]), snapshot: Number(match[2]), at: Number(match[3]), days: match[4]! } : null;
}

const time = (seconds: number): string => `${moment(new Date(seconds * 1000).toISOString(), false)} UTC`;

function conditions(query: Query): string {
  const parts = [`“${query.q}”`];
  if (query.username) parts.push(`by ${query.username}`);
  if (query.lang) parts.push(`in ${query.lang}`);
  if (query.start) parts.push(`from ${query.start}`);
  if (query.end) parts.push(`to ${query.end}`);
  if (query.exact) parts.push('exact match');
  return parts.join(', ');
}

interface Citation {
  text: string;
  link: string;
  bibtex: string;
}

/** An entry for reference managers. What has a meaning in TeX is written out. */
function bibtex(title: string, note: string, link: string, at: number): string {
  const plain = (text: string): string => text.replace(/[\\{}]/g, ' ').replace(/[#$%&_]/g, '\\$&').replace(/\^/g, '\\^{}').replace(/~/g, '\\~{}');
  const date = new Date(at * 1000).toISOString().slice(0, 10);
  return `@misc{bluesky-posts-${at},\n  title = {{${plain(title)}}},\n  year = {${date.slice(0, 4)}},\n  note = {${plain(note)}},\n  url = {${link}},\n  urldate = {${date}}\n}\n`;
}

async function cite(query: Query, gaps: number, signal: AbortSignal): Promise<Citation> {
  const status = await get<Status>('/status', undefined, signal);
  const asof = query.asof || status.newest;
  if (!asof) throw new ApiError('There is nothing yet that could be cited.', 0, 'empty');
  const fixed: Query = { ...query, asof, cited: '', cursor: '', page: 1 };
  const counts = await get<Counts>('/counts', toFilters(fixed), signal);
  const at = Math.floor(Date.now() / 1000);
  if (!counts.partial) fixed.cited = [counts.total, counts.snapshot, at, dayHash(counts)].join('.');
  const link = new URL(toAddress(fixed), location.href).href;
  const number = `${counts.partial ? 'at least ' : ''}${plural(counts.total, 'public post')}`;
  const missing = gaps > 0 ? ` The recording has ${plural(gaps, 'gap')} in this range.` : '';
  const title = `Bluesky Post Explorer: search for ${conditions(query)}`;
  const found = `${number} of Bluesky, witnessed until ${moment(asof)} UTC.${missing} Snapshot ${counts.snapshot}, bluelake ${status.version}`;
  return { text: `${title}; ${found}, retrieved ${time(at)}. ${link}`, link, bibtex: bibtex(title, found, link, at) };
}

export interface CiteControl {
  element: HTMLElement;
  panel: HTMLElement;
  setQuery(query: Query, gaps: number): void;
}

export function citeControl(): CiteControl {
  let asked: { query: Query; gaps: number } | null = null;
  let work: AbortController | null = null;
  const button = h('button', { type: 'button', class: 'button quiet', 'aria-expanded': 'false' }, icon('quote'), 'Cite');
  const panel = h('div', { class: 'export-panel cite-panel', hidden: true });
  const close = (): void => {
    work?.abort();
    panel.hidden = true;
    button.setAttribute('aria-expanded', 'false');
  };
  const show = async (): Promise<void> => {
    if (!asked) return;
    const mine = (work = new AbortController());
    panel.hidden = false;
    button.setAttribute('aria-expanded', 'true');
    replace(panel, h('p', { role: 'status' }, 'Counting…'));
    try {
      const { text, link, bibtex } = await cite(asked.query, asked.gaps, mine.signal);
      const copy = (label: string, what: string): HTMLElement => {
        const words = h('span', {}, label);
        return h('button', { type: 'button', class: 'button quiet', onclick: () => void copyText(what, words) }, words);
      };
      replace(panel, h('p', { class: 'citation', role: 'status', tabindex: '0' }, text), h('div', {}, copy('Copy citation', text), copy('Copy as BibTeX', bibtex), copy('Copy its link', link)));
    } catch (error) {
      if (wasAborted(error)) return;
      replace(panel, h('p', { role: 'alert', class: 'export-said' }, `It cannot be cited now. ${error instanceof ApiError ? error.message : ''}`));
    }
  };
  button.addEventListener('click', () => (panel.hidden ? void show() : close()));
  return {
    element: button,
    panel,
    setQuery(query, gaps) {
      close();
      asked = { query, gaps };
    },
  };
}

/** What has become of a cited answer; null where the address cites nothing. */
export function citedNotice(query: Query, counts: Counts | null): HTMLElement | null {
  if (!query.asof) return null;
  const now = h('a', { href: toAddress({ ...query, asof: '', cited: '', cursor: '', page: 1 }) }, 'Search up to now');
  const found = readFound(query.cited);
  const until = `Only posts witnessed until ${moment(query.asof)} UTC. `;
  if (!found || !counts || counts.partial) return notice('info', until, now);
  const told = `This link cites ${plural(found.total, 'post')}, retrieved ${time(found.at)} (snapshot ${found.snapshot}).`;
  if (counts.total === found.total && dayHash(counts) === found.days) return notice('info', `${told} The search still finds as many, day by day. `, now);
  const difference = counts.total - found.total;
  const change = difference === 0 ? 'as many, but on other days' : `${count(counts.total)}: ${count(Math.abs(difference))} ${difference < 0 ? 'fewer' : 'more'}`;
  return notice('warning', h('strong', {}, 'The data changed since. '), `${told} Today the same search finds ${change}. Posts were deleted, edited or hidden, or arrived late. `, now);
}
