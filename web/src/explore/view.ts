// The Explore view: what goes on, from the materialised views of the server. Every picture has its numbers below it and a download.
import { ApiError, get, type View } from '../api';
import { h, replace, uniqueId } from '../dom';
import { duration, moment } from '../format';
import { dataTable, downloadButton } from '../table';
import type { MountedView } from '../main';
import { accountName, domainName, heatMap, languageName, lengths, overRows, overTime, postList, ranked, tagName, type Draw, type Picture } from './draw';
import { asData, readable } from './shape';

interface Variant {
  label: string;
  view: string;
  only?: [column: string, value: string]; // rows of a view that holds several
}
interface Panel {
  title: string;
  wide?: boolean;
  variants: Variant[];
  draw: Draw;
}

const REFRESH_MS = 5 * 60_000;
const POSTS = /^posts$/;
const one = (view: string): Variant[] => [{ label: '', view }];
const periods = (prefix: string, ...names: [string, string][]): Variant[] => names.map(([label, suffix]) => ({ label, view: `${prefix}_${suffix}` }));

const PANELS: Panel[] = [
  {
    title: 'Volume',
    wide: true,
    variants: [
      { label: '24 hours', view: 'posts_by_hour_24h' },
      { label: 'Weeks', view: 'posts_weekly' },
      { label: 'Months', view: 'posts_monthly' },
    ],
    draw: overTime('bars', /^posts$/),
  },
  { title: 'Busy hours', variants: one('peak_hours'), draw: heatMap },
  { title: 'Post length', variants: one('post_length'), draw: lengths },
  {
    title: 'Trending hashtags',
    variants: periods('trending_hashtags', ['Hour', 'hourly'], ['Day', 'daily'], ['Week', 'weekly']),
    draw: ranked({ name: 'Hashtag', label: tagName, value: [POSTS], change: /^change/ }),
  },
  { title: 'Languages', variants: one('languages'), draw: ranked({ name: 'Language', label: languageName, value: [POSTS] }) },
  {
    title: 'Most liked',
    variants: [
      { label: 'Day', view: 'most_liked', only: ['period', 'day'] },
      { label: 'Week', view: 'most_liked', only: ['period', 'week'] },
      { label: 'Month', view: 'most_liked', only: ['period', 'month'] },
    ],
    draw: postList(6, 'likes', /^likes/),
  },
  { title: 'Fastest rising', variants: one('viral'), draw: postList(6, 'in an hour', /^likes$/) },
  {
    title: 'Most active',
    variants: periods('most_active', ['Day', 'daily'], ['Week', 'weekly'], ['Month', 'monthly']),
    draw: ranked({ name: 'Account', label: accountName, value: [POSTS] }),
  },
  { title: 'Linked sites', variants: one('link_domains'), draw: ranked({ name: 'Site', label: domainName, value: [POSTS] }) },
  { title: 'Network growth', variants: one('network_growth'), draw: overTime('line', /^follows/, /^unfollows/, /^net/) },
  { title: 'Likes per post', variants: one('like_to_post_ratio'), draw: overTime('bars', /per_post/) },
  { title: 'Likes after posting', variants: one('engagement_velocity'), draw: overRows(/^hours_after/, /^likes$/) },
  { title: 'Posts per account', variants: one('engagement_rates'), draw: overTime('bars', /per_author/) },
];

function stale(view: View): string {
  if (!view.refreshed_at) return 'Not computed yet';
  const age = (Date.now() - Date.parse(view.refreshed_at)) / 1000;
  return `${moment(view.refreshed_at, false)} UTC, ${age < 90 ? 'just now' : `${duration(age)} ago`}`;
}

/** The first sentence is the caption; what is said beyond it waits behind it. */
function definition(text: string): HTMLElement {
  const [, first, rest] = (text.length > 200 && /^(.{40,}?\.)\s+(.*)$/s.exec(text)) || [];
  if (!first || !rest) return h('p', { class: 'definition' }, text);
  return h('details', { class: 'definition' }, h('summary', {}, first), h('p', {}, rest));
}

function narrowed(view: View, column: string, value: string): View {
  const at = view.columns.indexOf(column);
  return { ...view, rows: view.rows.filter((row) => row[at] === value) };
}

class PanelCard {
  readonly element: HTMLElement;
  private readonly body = h('div', { class: 'panel-body' });
  private readonly head = h('div', { class: 'panel-head' });
  private picture: Picture | null = null;
  private chosen = 0;
  private turn = 0;

  constructor(private readonly panel: Panel) {
    const id = uniqueId('panel');
    this.head.append(h('h2', { id }, panel.title));
    if (panel.variants.length > 1) this.head.append(this.choices());
    this.element = h('section', { class: `card panel${panel.wide ? ' wide' : ''}`, 'aria-labelledby': id, 'data-view': panel.variants[0]!.view }, this.head, this.body);
    replace(this.body, h('span', { class: 'bone plot-200', 'aria-hidden': 'true' }));
  }

  private choices(): HTMLElement {
    const group = h('div', { class: 'segments', role: 'group', 'aria-label': `${this.panel.title}: period` });
    this.panel.variants.forEach((variant, at) => {
      const press = (): void => {
        this.chosen = at;
        [...group.children].forEach((button, n) => button.setAttribute('aria-pressed', String(n === at)));
        void this.load();
      };
      group.append(h('button', { type: 'button', 'aria-pressed': String(at === 0), onclick: press }, variant.label));
    });
    return group;
  }

  async load(): Promise<void> {
    const mine = ++this.turn;
    const { view: name, only } = this.panel.variants[this.chosen]!;
    this.element.setAttribute('aria-busy', 'true');
    try {
      const view = await get<View>(`/views/${name}`, new URLSearchParams({ format: 'json' }));
      if (mine === this.turn) this.show(only ? narrowed(view, ...only) : view);
    } catch (error) {
      if (mine === this.turn) this.fail(error);
    }
    if (mine === this.turn) this.element.removeAttribute('aria-busy');
  }

  private clear(): void {
    this.picture?.chart?.destroy();
    this.picture = null;
  }

  private show(view: View): void {
    this.clear();
    const data = asData(view);
    const foot = h('div', { class: 'panel-foot' });
    if (view.rows.length === 0) {
      replace(this.body, h('p', { class: 'panel-empty' }, 'Nothing to show yet.'), definition(view.definition), h('p', { class: 'fine' }, stale(view)));
      return;
    }
    this.picture = this.panel.draw(view);
    const table = h('details', { class: 'as-table' }, h('summary', {}, this.picture?.isTable ? 'All numbers' : 'As a table'));
    table.addEventListener('toggle', () => {
      if (table.open && !table.querySelector('table')) table.append(dataTable(this.panel.title, readable(data)));
    });
    if (!this.picture) table.open = true;
    foot.append(h('span', { class: 'fine' }, stale(view)), downloadButton(() => data, view.name.replaceAll('_', '-'), this.panel.title), table);
    replace(this.body, this.picture?.element, definition(view.definition), foot);
  }

  private fail(error: unknown): void {
    this.clear();
    const message = error instanceof ApiError ? error.message : 'The answer could not be read.';
    const again = h('button', { type: 'button', class: 'button quiet', onclick: () => void this.load() }, 'Try again');
    replace(this.body, h('div', { class: 'panel-empty', role: 'alert' }, h('p', {}, message), again));
  }
}

export function exploreView(container: HTMLElement): MountedView {
  const cards = PANELS.map((panel) => new PanelCard(panel));
  container.append(
    h('div', { class: 'hero' }, h('h1', {}, 'What is going on'), h('p', { class: 'hero-figures' }, 'Counted from everything collected here. All times UTC.')),
    h('div', { class: 'panels' }, ...cards.map((card) => card.element)),
  );
  let timer = 0;
  let loaded = 0;
  const load = (): void => {
    loaded = Date.now();
    for (const card of cards) void card.load();
  };
  return {
    show() {
      if (Date.now() - loaded > REFRESH_MS) load();
      timer = window.setInterval(() => document.hidden || load(), REFRESH_MS);
    },
    leave: () => clearInterval(timer),
  };
}
