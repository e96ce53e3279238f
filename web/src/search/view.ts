// The search view: form, then answer. One address, one answer; a newer question makes an older one's answer irrelevant.
import { ApiError, get, wasAborted, type Counts, type SearchAnswer, type Status } from '../api';
import { copyText, h, icon, replace, uniqueId } from '../dom';
import { count, duration, moment, plural } from '../format';
import { empty, failed, notice, waiting } from '../states';
import { citeControl, citedNotice } from './cite';
import { exportControl } from './export';
import { searchForm } from './form';
import { histogram } from './histogram';
import { faults, fromAddress, SIZES, toAddress, toFilters, toSearch, words, type Query } from './query';
import { postTable, type PostTable } from './rows';
import { comingSoon } from './soon';
import type { MountedView } from '../main';

const EXAMPLES = ['#art', '"good morning" lang:en', 'has:image -has:reply'];
const GAPS_SHOWN = 3;
// Names the server had to ask for elsewhere are there soon, or not at all.
const NAME_DELAYS_MS = [700, 1500, 3000];

function hero(): HTMLElement {
  const figures = h('p', { class: 'hero-figures' });
  const hero = h('div', { class: 'hero' }, h('h1', {}, 'Search what Bluesky says'), figures);
  figures.textContent = 'Every public post that was collected here, newest first.';
  void get<Status>('/status')
    .then((status) => {
      const posts = status.types.find((type) => /post/.test(type.type))?.rows;
      if (!posts) return;
      const range = status.oldest && status.newest ? `, ${moment(status.oldest, false)} to ${moment(status.newest, false)} UTC` : '';
      figures.textContent = `${count(posts)} public posts${range}. Newest first.`;
    })
    .catch(() => undefined);
  return hero;
}

function gapNotice(answer: SearchAnswer): HTMLElement | null {
  const gaps = answer.meta.gaps;
  if (gaps.length === 0) return null;
  const list = h('ul');
  for (const gap of gaps.slice(0, GAPS_SHOWN))
    list.append(h('li', {}, `${moment(gap.from)} to ${moment(gap.to)} UTC (${duration((Date.parse(gap.to) - Date.parse(gap.from)) / 1000)}): ${gap.reason}`));
  const rest = gaps.length > GAPS_SHOWN ? h('p', {}, h('a', { href: '#/collection' }, `All ${count(gaps.length)} gaps`)) : null;
  return notice('warning', h('strong', {}, `The recording has ${plural(gaps.length, 'gap')} in this range: posts may be missing.`), list, rest);
}

export function searchView(container: HTMLElement): MountedView {
  let asked: Query | null = null;
  let work: AbortController | null = null;
  let counts: Counts | null = null;
  let counted = '';
  const trail: string[] = [];

  const form = searchForm((query) => go(query));
  const bars = histogram();
  const exporter = exportControl();
  const citer = citeControl();
  const cited = h('div');
  const summary = h('p', { class: 'summary', role: 'status', 'aria-live': 'polite' });
  const body = h('div', { class: 'results-body' });
  const sizeId = uniqueId('size');
  const size = h('select', { id: sizeId, class: 'input compact' });
  for (const each of SIZES) size.append(h('option', { value: each }, each));
  size.addEventListener('change', () => asked && go({ ...asked, size: Number(size.value), cursor: '', page: 1 }));
  const copyLabel = h('span', {}, 'Copy link');
  const copy = h('button', { type: 'button', class: 'button quiet', onclick: () => void copyText(location.href, copyLabel, 'Copy it from the address bar') }, icon('link'), copyLabel);
  const tools = h('div', { class: 'tools' }, h('div', { class: 'field-inline' }, h('label', { for: sizeId }, 'Rows'), size), copy, citer.element, exporter.element);
  const results = h('section', { class: 'card results', 'aria-label': 'Results' }, h('div', { class: 'results-head' }, h('h2', {}, 'Results'), summary, tools), exporter.panel, citer.panel, cited, bars.element, body);

  container.append(hero(), form.element, results, comingSoon());

  function go(query: Query): void {
    const next = toAddress(query);
    if (next === location.hash) void ask(query);
    else location.hash = next;
  }

  function welcome(): void {
    const list = h('ul', { class: 'examples' });
    for (const example of EXAMPLES) list.append(h('li', {}, h('a', { class: 'chip', href: `#/search?${new URLSearchParams({ q: example })}` }, example)));
    replace(body, empty('What are you looking for?', h('p', {}, 'Words, "phrases", #hashtags and operators. For example:'), list));
  }

  function setBusy(busy: boolean): void {
    form.setBusy(busy);
    results.setAttribute('aria-busy', String(busy));
  }

  function summarize(answer: SearchAnswer): void {
    const shown = answer.results.length;
    const whole = !answer.meta.has_more && asked!.page === 1 && !answer.meta.truncated;
    const all = whole ? count(shown) : counts ? `${counts.partial ? 'at least ' : ''}${count(counts.total)}` : '…';
    const page = asked!.page > 1 ? ` · page ${asked!.page}` : '';
    summary.textContent = shown === 0 ? '' : `${count(shown)} of ${all} results${page}`;
  }

  /** Asks again, only for who wrote what is shown. */
  async function nameWriters(query: Query, table: PostTable, mine: AbortController): Promise<void> {
    for (const delay of NAME_DELAYS_MS) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      if (work !== mine || mine.signal.aborted) return;
      const answer = await get<SearchAnswer>('/search', toSearch(query), mine.signal).catch(() => null);
      if (work !== mine || !answer) return;
      table.rename(answer.results);
      if (!answer.meta.names_pending) return;
    }
  }

  function draw(answer: SearchAnswer): void {
    const query = asked!;
    const { results: posts, meta } = answer;
    summarize(answer);
    citer.setQuery(query, meta.gaps.length);
    tools.hidden = posts.length === 0;
    const cut = meta.truncated ? notice('info', 'No more than the newest 1,000 results can be paged through here. Narrow the dates to see older ones.') : null;
    if (posts.length === 0) {
      const reason = meta.note ?? (meta.truncated ? null : 'Fewer words, other spellings or a longer range may help.');
      replace(body, gapNotice(answer), cut, empty('No results found', reason ? h('p', {}, reason) : null), pager(answer));
      summary.textContent = 'No results found';
      return;
    }
    const matchWords = meta.matches?.length ? meta.matches : words(query);
    const table = postTable(posts, matchWords, query.exact);
    if (meta.names_pending && work) void nameWriters(query, table, work);
    const cost = `${duration(meta.elapsed_ms / 1000)} · ${count(meta.files_read)} of ${plural(meta.files_listed, 'file')} read · snapshot ${meta.snapshot}`;
    replace(
      body,
      gapNotice(answer),
      meta.note ? notice('info', meta.note) : null,
      cut,
      table.element,
      pager(answer),
      h('p', { class: 'fine cost' }, cost),
    );
  }

  function pager(answer: SearchAnswer): HTMLElement | null {
    const query = asked!;
    const next = answer.meta.has_more ? answer.meta.next_cursor : null;
    if (query.page === 1 && !next) return null;
    const turn = (cursor: string, page: number): void => {
      trail[query.page] = query.cursor;
      go({ ...query, cursor, page });
      results.scrollIntoView({ block: 'start' });
    };
    const back = trail[query.page - 1];
    const button = (label: string, action: () => void, usable: boolean): HTMLElement =>
      h('button', { type: 'button', class: 'button', disabled: !usable, onclick: action }, label);
    return h(
      'nav',
      { class: 'pager', 'aria-label': 'Pages' },
      button('Newest', () => turn('', 1), query.page > 1),
      button('Previous', () => turn(back ?? '', query.page - 1), query.page > 1 && (back !== undefined || query.page === 2)),
      h('span', {}, `Page ${query.page}`),
      button('Next', () => turn(next!, query.page + 1), next !== null),
    );
  }

  async function countAll(query: Query, signal: AbortSignal, then: () => void): Promise<void> {
    const key = toFilters(query).toString();
    const tell = (known: Counts): void => {
      exporter.setQuery(query, known.partial ? null : known.total);
      replace(cited, citedNotice(query, known));
      then();
    };
    if (key === counted && counts) return tell(counts);
    counted = '';
    counts = null;
    bars.element.hidden = false;
    bars.wait();
    try {
      const known = await get<Counts>('/counts', toFilters(query), signal);
      counts = known;
      counted = key;
      await bars.show(known);
      tell(known);
    } catch (error) {
      if (!wasAborted(error)) bars.fail(error instanceof ApiError ? error.message : 'the answer broke off');
    }
  }

  async function ask(query: Query): Promise<void> {
    work?.abort();
    const mine = new AbortController();
    work = mine;
    asked = query;
    const wait = waiting(Math.min(query.size, 8), () => {
      mine.abort();
      stop();
      replace(body, empty('Search cancelled', h('p', {}, 'Nothing is being looked for.')));
      bars.element.hidden = true;
    });
    const stop = (): void => {
      wait.stop();
      if (work === mine) setBusy(false);
    };
    setBusy(true);
    size.value = String(query.size);
    tools.hidden = true;
    summary.textContent = 'Searching…';
    exporter.setQuery(query, null);
    citer.setQuery(query, 0);
    replace(cited, citedNotice(query, null));
    replace(body, wait.element);
    let answer: SearchAnswer | null = null;
    void countAll(query, mine.signal, () => answer && work === mine && answer.results.length > 0 && summarize(answer));
    try {
      answer = await get<SearchAnswer>('/search', toSearch(query), mine.signal);
      if (work === mine) draw(answer);
    } catch (error) {
      if (work !== mine) return;
      if (!wasAborted(error)) refuse(error, query);
      else summary.textContent = '';
    } finally {
      stop();
    }
  }

  function refuse(error: unknown, query: Query): void {
    summary.textContent = '';
    bars.element.hidden = true;
    work?.abort();
    setBusy(false);
    if (error instanceof ApiError && error.status === 400 && form.refuse(error)) welcome();
    else replace(body, failed(error, () => void ask(query)));
  }

  return {
    show(parameters) {
      const query = fromAddress(parameters);
      if (asked && toAddress(asked) === toAddress(query) && query.q) return;
      form.fill(query);
      tools.hidden = true;
      if (!query.q || Object.keys(faults(query)).length > 0) {
        work?.abort();
        asked = null;
        summary.textContent = '';
        bars.element.hidden = true;
        exporter.panel.hidden = true;
        citer.panel.hidden = true;
        replace(cited);
        setBusy(false);
        welcome();
        return;
      }
      void ask(query);
    },
    leave() {},
  };
}
