// The pictures of the Explore view. Each gets a view's answer and gives an element; what is ranked is drawn as a table with bars, so that
// picture and table are one.
import type { View } from '../api';
import { chart, type Chart, type ChartSeries } from '../chart';
import { h, outsideLink, type Child } from '../dom';
import { count, language, moment, short, shortDid } from '../format';
import { postAddress } from '../search/embed';
import { columnOf, flat, label, numbers, texts } from './shape';

export interface Picture {
  element: HTMLElement;
  chart?: Chart;
  isTable?: boolean;
}
export type Draw = (view: View) => Picture | null;

const TIME = [/^(hour|day|date|week|month|bucket|start|time|period)(_start|_utc)?$/, /(_start|_at|hour|day|date|week|month)$/];
const DAYS = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];

function seconds(text: string): number {
  const full = /^\d{4}-\d{2}$/.test(text) ? `${text}-01` : text;
  return Date.parse(/^\d{4}-\d{2}-\d{2}$/.test(full) || full.endsWith('Z') ? full : `${full.replace(' ', 'T')}Z`) / 1000;
}

function extremes(name: string, xs: string[], values: (number | null)[]): string {
  let top = -1;
  values.forEach((value, at) => {
    if (value !== null && (top < 0 || value > values[top]!)) top = at;
  });
  return top < 0 ? `${name}: no values.` : `${name}: the most, ${short(values[top]!)}, at ${xs[top]}.`;
}

/** Columns of numbers over a column of times. */
export function overTime(shape: 'bars' | 'line', ...names: RegExp[]): Draw {
  return (view) => {
    const time = columnOf(view, ...TIME);
    const columns = names.map((name) => columnOf(view, name)).filter((at, n, all) => at >= 0 && all.indexOf(at) === n);
    if (time < 0 || columns.length === 0 || view.rows.length === 0) return null;
    const order = view.rows.map((row, at) => ({ at, x: seconds(String(flat(row[time]))) })).filter((each) => Number.isFinite(each.x));
    order.sort((a, b) => a.x - b.x);
    if (order.length === 0) return null;
    const xs = order.map((each) => each.x);
    const steps = xs.slice(1).map((x, at) => x - xs[at]!).filter((step) => step > 0);
    const series: ChartSeries[] = columns.map((column) => {
      const values = numbers(view, column);
      return { label: label(view.columns[column]!), values: order.map((each) => values[each.at] ?? null) };
    });
    const said = xs.map((x) => moment(new Date(x * 1000).toISOString(), false));
    const summary = series.map((each) => extremes(each.label, said, each.values)).join(' ');
    const drawn = chart({ summary, xs, series, shape, step: steps.length > 0 ? Math.min(...steps) : 3600, height: 200 });
    return { element: drawn.element, chart: drawn };
  };
}

/** Lengths of all days together: the shape matters, not the day. */
export const lengths: Draw = (view) => {
  const from = columnOf(view, /^from/);
  const to = columnOf(view, /^to/);
  const posts = columnOf(view, /^posts/);
  if (from < 0 || to < 0 || posts < 0 || view.rows.length === 0) return null;
  const sums = new Map<number, { label: string; n: number }>();
  for (const row of view.rows) {
    const start = Number(row[from]);
    const name = row[to] === null || row[to] === '' ? `${start}+` : `${start}–${flat(row[to])}`;
    const sum = sums.get(start) ?? { label: name, n: 0 };
    sum.n += Number(row[posts]);
    sums.set(start, sum);
  }
  const groups = [...sums].sort(([a], [b]) => a - b).map(([, group]) => group);
  const labels = groups.map((group) => group.label);
  const series = [{ label: 'Posts', values: groups.map((group) => group.n) }];
  const drawn = chart({ summary: extremes('Posts by length in characters', labels, series[0]!.values), xs: labels.map((_, at) => at), labels, series, shape: 'bars', height: 200, unit: 'posts' });
  return { element: drawn.element, chart: drawn };
};

/** A bar for each row, in the order of the rows. */
export function overRows(name: RegExp, value: RegExp): Draw {
  return (view) => {
    const names = columnOf(view, name);
    const values = columnOf(view, value);
    if (names < 0 || values < 0 || view.rows.length === 0) return null;
    const labels = texts(view, names);
    const series = [{ label: label(view.columns[values]!), values: numbers(view, values) }];
    const summary = extremes(series[0]!.label, labels, series[0]!.values);
    const drawn = chart({ summary, xs: labels.map((_, at) => at), labels, series, shape: 'bars', height: 200 });
    return { element: drawn.element, chart: drawn };
  };
}

function weekday(text: string): number {
  const named = DAYS.findIndex((day) => day.toLowerCase().startsWith(text.toLowerCase().slice(0, 3)));
  return named >= 0 ? named : (Number(text) + 6) % 7; // 0 and 7 are Sunday
}

/** Hours across, days down, darker where there is more. */
export const heatMap: Draw = (view) => {
  const day = columnOf(view, /^(weekday|day_of_week|dow|day_name|day)/);
  const hour = columnOf(view, /^hour/);
  const value = columnOf(view, /per_day|^(avg|average|mean)/, /post|count/);
  if (day < 0 || hour < 0 || value < 0 || view.rows.length === 0) return null;
  const cells: number[][] = DAYS.map(() => new Array<number>(24).fill(0));
  const values = numbers(view, value);
  view.rows.forEach((row, at) => {
    const line = cells[weekday(String(flat(row[day])))];
    const column = Number(flat(row[hour]));
    if (line && column >= 0 && column < 24) line[column] = values[at] ?? 0;
  });
  const most = Math.max(1, ...cells.flat());
  const grid = h('div', { class: 'heat', role: 'img' });
  grid.append(h('span'));
  for (let each = 0; each < 24; each++) grid.append(h('span', { class: 'heat-hour' }, each % 3 === 0 ? String(each).padStart(2, '0') : ''));
  let top = { day: 0, hour: 0, value: 0 };
  cells.forEach((line, d) => {
    grid.append(h('span', { class: 'heat-day' }, DAYS[d]!.slice(0, 3)));
    line.forEach((n, hourOfDay) => {
      if (n > top.value) top = { day: d, hour: hourOfDay, value: n };
      const level = n === 0 ? 0 : Math.max(1, Math.ceil((n / most) * 8));
      grid.append(h('span', { class: `heat-cell heat-${level}`, title: `${DAYS[d]} ${String(hourOfDay).padStart(2, '0')}:00 UTC: ${short(n)}` }));
    });
  });
  grid.setAttribute('aria-label', `Posts by weekday and hour (UTC). The most: ${DAYS[top.day]} ${top.hour}:00 with ${short(top.value)}.`);
  return { element: h('div', { class: 'scroll heat-scroll', tabindex: '0', role: 'group', 'aria-label': 'Posts by weekday and hour' }, grid) };
};

function bar(share: number): HTMLElement {
  const fill = h('span', { class: 'bar-fill' });
  fill.style.width = `${Math.max(0.5, Math.min(100, share * 100))}%`;
  return h('span', { class: 'bar', 'aria-hidden': 'true' }, fill);
}

export type Name = (view: View, row: number) => Child;

export interface Ranking {
  name: string; // of the first column
  label: Name;
  value: RegExp[];
  change?: RegExp; // in per cent, against the time before
  rows?: number;
}

function changeText(percent: number | null): string {
  if (percent === null) return 'new';
  return `${percent > 0 ? '+' : percent < 0 ? '−' : '±'}${short(Math.abs(Math.round(percent)))} %`;
}

export function ranked(options: Ranking): Draw {
  return (view) => {
    const value = columnOf(view, ...options.value);
    if (value < 0 || view.rows.length === 0) return null;
    const values = numbers(view, value);
    const order = values.map((n, at) => ({ n: n ?? 0, at })).sort((a, b) => b.n - a.n || a.at - b.at).slice(0, options.rows ?? 12);
    const most = order[0]?.n || 1;
    const change = options.change ? columnOf(view, options.change) : -1;
    const changes = change >= 0 ? numbers(view, change) : [];
    const body = h('tbody');
    for (const { n, at } of order) {
      const name = h('th', { scope: 'row' }, options.label(view, at));
      const cells = h('tr', {}, name, h('td', { class: 'bar-cell' }, bar(n / most)), h('td', { class: 'numeric' }, Number.isInteger(n) ? count(n) : short(n)));
      if (change >= 0) cells.append(h('td', { class: 'numeric change' }, changeText(changes[at] ?? null)));
      body.append(cells);
    }
    const valueLabel = label(view.columns[value]!);
    const head = h('tr', {}, h('th', { scope: 'col' }, options.name), h('th', { scope: 'col', class: 'numeric', colspan: '2' }, valueLabel), change >= 0 ? h('th', { scope: 'col', class: 'numeric change' }, 'Change') : null);
    return { element: h('table', { class: 'ranking' }, h('caption', { class: 'spoken' }, `${options.name}: ${valueLabel}`), h('thead', {}, head), body), isTable: true };
  };
}

function search(q: string, ...children: Child[]): HTMLElement {
  return h('a', { href: `#/search?${new URLSearchParams({ q })}` }, ...children);
}

const cellText = (view: View, row: number, ...patterns: RegExp[]): string => {
  const at = columnOf(view, ...patterns);
  return at < 0 ? '' : String(flat(view.rows[row]![at]) ?? '');
};

export const tagName: Name = (view, row) => {
  const tag = cellText(view, row, /^(tag|hashtag)/).replace(/^#/, '');
  return search(`#${tag}`, h('bdi', {}, `#${tag}`));
};
export const languageName: Name = (view, row) => {
  const code = cellText(view, row, /^lang/);
  if (!code || code === 'none') return h('span', {}, 'Not stated');
  return search(`lang:${code}`, language(code), h('span', { class: 'fine' }, ` ${code}`));
};
export const domainName: Name = (view, row) => {
  const domain = cellText(view, row, /domain|host/);
  return search(`domain:${domain}`, h('bdi', {}, domain));
};
export const accountName: Name = (view, row) => {
  const did = cellText(view, row, /^(did|author_did|author)$/, /did/);
  const handle = cellText(view, row, /^(handle|username)/);
  const name = cellText(view, row, /display_name/);
  return search(`from:${did}`, name ? h('bdi', {}, `${name} `) : null, h('bdi', { class: name ? 'fine' : null, title: did }, handle ? `@${handle}` : shortDid(did)));
};

/** Posts with a number each. */
export function postList(rows: number, unit: string, ...value: RegExp[]): Draw {
  return (view) => {
    const at = columnOf(view, ...value);
    if (at < 0 || view.rows.length === 0) return null;
    const values = numbers(view, at);
    const order = values.map((n, row) => ({ n: n ?? 0, row })).sort((a, b) => b.n - a.n || a.row - b.row).slice(0, rows);
    const list = h('ol', { class: 'top-posts' });
    for (const { n, row } of order) list.append(topPost(view, row, n, unit));
    return { element: list };
  };
}

function topPost(view: View, row: number, n: number, what: string): HTMLElement {
  const text = cellText(view, row, /^text/, /preview/);
  const uri = cellText(view, row, /^(uri|post_uri|post)$/, /uri/);
  const handle = cellText(view, row, /^(handle|username)/);
  const did = cellText(view, row, /^(did|author_did|author)$/) || /^at:\/\/([^/]+)/.exec(uri)?.[1] || '';
  const href = postAddress(uri);
  const clipped = text.length > 160 ? `${text.slice(0, 160).trimEnd()}…` : text;
  const by = h('bdi', { title: did }, handle ? `@${handle}` : shortDid(did));
  return h(
    'li',
    {},
    h('span', { class: 'top-value' }, h('strong', {}, short(n)), h('span', { class: 'fine' }, what)),
    h('div', { class: 'top-body' }, h('p', { class: 'post-text', dir: 'auto' }, clipped || '(no text)'), h('p', { class: 'fine' }, search(`from:${did}`, by), href ? ' · ' : null, href ? outsideLink(href, {}, 'View post') : null)),
  );
}
