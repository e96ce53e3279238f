// The frame around three views, and the way from an address to one of them. Addresses are fragments (#/search?q=...): they work on any
// static host, and what was searched for stays out of the logs of whoever serves the page.
import { address, get, type Status } from './api';
import { h, icon, outsideLink, replace } from './dom';
import { duration, short } from './format';
import { searchView } from './search/view';

export interface MountedView {
  show(parameters: URLSearchParams): void;
  leave(): void;
}
interface Route {
  label: string;
  title: string;
  load(container: HTMLElement): Promise<MountedView> | MountedView;
}

const TITLE = 'Bluesky Post Explorer';
// Where the code lives is known to whoever publishes it: set when the page is built.
const SOURCE = import.meta.env.VITE_SOURCE_URL ?? 'https://github.com';
const CONTACT = import.meta.env.VITE_CONTACT_URL ?? `${SOURCE}/issues`;
const ROUTES: Record<string, Route> = {
  search: { label: 'Search', title: TITLE, load: searchView },
  explore: {
    label: 'Explore',
    title: `Explore · ${TITLE}`,
    load: async (container) => (await import('./explore/view')).exploreView(container),
  },
  collection: {
    label: 'Collection',
    title: `Collection · ${TITLE}`,
    load: async (container) => (await import('./collection/view')).collectionView(container),
  },
};

const containers = new Map<string, HTMLElement>();
const views = new Map<string, MountedView>();
const links = new Map<string, HTMLAnchorElement>();
const main = h('main', { id: 'main', tabindex: '-1' });
let current = '';

function parse(hash: string): { name: string; parameters: URLSearchParams } {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { name: path in ROUTES ? path : 'search', parameters: new URLSearchParams(query) };
}

async function navigate(): Promise<void> {
  const { name, parameters } = parse(location.hash);
  const moved = current !== '' && current !== name;
  if (current !== name) views.get(current)?.leave();
  current = name;
  document.title = ROUTES[name]!.title;
  for (const [key, link] of links) {
    if (key === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  // A view keeps its last address, so that going elsewhere and back loses nothing.
  if (location.hash.startsWith(`#/${name}`)) links.get(name)!.href = location.hash;
  let container = containers.get(name);
  if (!container) {
    container = h('div', { class: 'view' });
    containers.set(name, container);
    views.set(name, await ROUTES[name]!.load(container));
  }
  if (current !== name) return;
  replace(main, container);
  views.get(name)!.show(parameters);
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function header(): HTMLElement {
  const nav = h('nav', { 'aria-label': 'Views' });
  for (const [name, route] of Object.entries(ROUTES)) {
    const link = h('a', { href: `#/${name}`, class: 'tab' }, route.label);
    links.set(name, link);
    nav.append(link);
  }
  const mark = h('span', { class: 'logo' }, icon('logo'));
  return h(
    'header',
    { class: 'top' },
    h('div', { class: 'top-inner' }, h('a', { href: '#/search', class: 'brand' }, mark, TITLE), nav, pulse(), settings()),
  );
}

function settings(): HTMLElement {
  return h('button', { type: 'button', class: 'icon-button', disabled: true, 'aria-label': 'Settings', title: 'Settings: coming soon' }, icon('gear'));
}

/** How the collection is, on every view. */
function pulse(): HTMLElement {
  const text = h('span');
  const link = h('a', { href: '#/collection', class: 'pulse', 'data-state': 'unknown' }, h('span', { class: 'dot', 'aria-hidden': 'true' }), text);
  const ask = async (): Promise<void> => {
    if (document.hidden) return;
    try {
      const status = await get<Status>('/status');
      const live = status.ingest !== null && status.rate_per_second !== null;
      link.dataset.state = live ? 'live' : 'idle';
      text.textContent = live
        ? `${short(Math.round(status.rate_per_second!))}/s, ${duration(status.lag_seconds ?? 0)} behind`
        : 'Not collecting';
    } catch {
      link.dataset.state = 'down';
      text.textContent = 'No answer';
    }
  };
  void ask();
  setInterval(() => void ask(), 15_000);
  return link;
}

function footer(): HTMLElement {
  return h(
    'footer',
    { class: 'bottom' },
    h('p', {}, 'Times are UTC. Deleted posts, and posts of deleted or deactivated accounts, are not shown.'),
    h(
      'ul',
      {},
      h('li', {}, outsideLink(SOURCE, {}, 'GitHub')),
      h('li', {}, outsideLink(CONTACT, {}, 'Contact')),
      h('li', {}, h('a', { href: address('/docs') }, 'API docs')),
    ),
  );
}

document.body.append(
  h('a', { href: '#main', class: 'skip', onclick: (event) => (event.preventDefault(), main.focus()) }, 'Skip to content'),
  header(),
  main,
  footer(),
);
addEventListener('hashchange', () => void navigate());
void navigate();
