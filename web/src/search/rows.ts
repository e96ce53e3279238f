// One post, one row: a table where there is room, cards where there is none (the style sheet decides).
import type { Post } from '../api';
import { h, icon, outsideLink, spoken } from '../dom';
import { language, moment, shortDid } from '../format';
import { embedLines, postAddress } from './embed';
import { linkRanges, matchRanges, previewEnd, richText } from './richtext';

const PREVIEW = 140;
const REVEAL = 600;
const CLAIM_TOLERANCE_MS = 6 * 3600 * 1000;

function author(post: Post): HTMLElement {
  const search = `#/search?${new URLSearchParams({ q: `from:${post.did}` })}`;
  const known = post.handle !== null && post.handle !== '';
  const name = post.display_name?.trim();
  return h(
    'div',
    { class: 'author' },
    name ? h('bdi', { class: 'author-name' }, name.slice(0, 80)) : null,
    h('a', { href: search, class: 'author-handle', title: `Posts of ${post.did}` }, h('bdi', {}, known ? `@${post.handle}` : shortDid(post.did))),
    known ? h('span', { class: 'author-did', title: post.did }, shortDid(post.did)) : null,
  );
}

function when(post: Post): HTMLElement {
  const [date = '', time = ''] = moment(post.timestamp).split(' ');
  const labels = h('div', { class: 'labels' });
  for (const code of (post.langs ?? []).slice(0, 3)) labels.append(h('span', { class: 'tag', title: language(code) }, h('bdi', {}, code.slice(0, 12))));
  const claim = claimed(post);
  if (claim) labels.append(claim);
  const witnessed = h('time', { datetime: post.timestamp, title: `${post.timestamp} (witnessed)` }, h('span', {}, date), ' ', h('span', {}, time));
  return h('div', { class: 'when' }, witnessed, labels);
}

/** createdAt is whatever the author's app wrote; worth a word when it is far off. */
function claimed(post: Post): HTMLElement | null {
  if (!post.created_at) return null;
  const apart = Date.parse(post.created_at) - Date.parse(post.timestamp);
  if (Math.abs(apart) < CLAIM_TOLERANCE_MS) return null;
  return h('span', { class: 'tag odd', title: `created_at: ${post.created_at.slice(0, 60)}` }, `claims ${moment(post.created_at, false).slice(0, 10)}`);
}

function body(post: Post, matchWords: readonly string[], exact: boolean): HTMLElement {
  const links = linkRanges(post.text, post.facets);
  const matches = matchRanges(post.text, matchWords, exact);
  const cut = previewEnd(post.text, PREVIEW);
  const text = h('div', { class: 'post-text', dir: 'auto' });
  const long = cut < post.text.length;
  // A preview that hides the only reason why the post was found is no preview.
  let open = !long || (post.text.length <= REVEAL && matches.length > 0 && matches[0]!.from >= cut);
  const more = h('button', { type: 'button', class: 'more' });
  const draw = (): void => {
    text.replaceChildren(...richText(post.text, links, matches, open ? post.text.length : cut));
    if (long && !open) text.append('…');
    more.textContent = open ? 'Show less' : 'Show more';
    more.setAttribute('aria-expanded', String(open));
  };
  more.addEventListener('click', () => {
    open = !open;
    draw();
  });
  draw();
  return h('div', { class: 'post' }, text, long ? more : null, embedLines(post.embed, post.reply_parent_uri));
}

function row(post: Post, writer: HTMLElement, matchWords: readonly string[], exact: boolean): HTMLElement {
  const href = postAddress(post.uri);
  const name = post.handle ? `@${post.handle}` : post.did;
  const view = href ? outsideLink(href, { class: 'view-link' }, 'View', spoken(` post of ${name} on bsky.app`), icon('external')) : '–';
  return h(
    'tr',
    { role: 'row' },
    h('td', { role: 'cell', class: 'cell-time' }, when(post)),
    writer,
    h('td', { role: 'cell', class: 'cell-post' }, body(post, matchWords, exact)),
    h('td', { role: 'cell', class: 'cell-view' }, view),
  );
}

export interface PostTable {
  element: HTMLElement;
  /** Shows what has been learnt since about who wrote them. */
  rename(posts: readonly Post[]): void;
}

export function postTable(posts: readonly Post[], matchWords: readonly string[], exact: boolean): PostTable {
  // Roles are spelled out because a table drawn as blocks loses its own.
  const head = h('tr', { role: 'row' });
  for (const label of ['Timestamp', 'Username', 'Post Preview', 'Link']) head.append(h('th', { scope: 'col', role: 'columnheader' }, label));
  const body = h('tbody', { role: 'rowgroup' });
  const writers = new Map<string, HTMLElement>();
  for (const post of posts) {
    const writer = h('td', { role: 'cell', class: 'cell-author' }, author(post));
    writers.set(post.uri, writer);
    body.append(row(post, writer, matchWords, exact));
  }
  const element = h(
    'table',
    { class: 'posts', role: 'table' },
    h('caption', { class: 'spoken' }, 'Posts, newest first'),
    h('thead', { role: 'rowgroup' }, head),
    body,
  );
  return {
    element,
    rename(known) {
      for (const post of known) {
        const writer = writers.get(post.uri);
        // Nobody's focus is taken away.
        if (writer && post.handle && !writer.contains(document.activeElement)) writer.replaceChildren(author(post));
      }
    },
  };
}
