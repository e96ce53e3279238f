// What hangs on a post, in words. Nothing of it is fetched: a page that loads strangers' pictures tells them who looks.
import { h, outsideLink, webAddress } from '../dom';
import { plural } from '../format';

type Json = Record<string, unknown>;
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** https://bsky.app/profile/DID/post/KEY, or null when `uri` is no post's address. */
export function postAddress(uri: unknown): string | null {
  const parts = /^at:\/\/(did:[a-z]+:[A-Za-z0-9._:%-]+)\/app\.bsky\.feed\.post\/([A-Za-z0-9._~:-]{1,512})$/.exec(text(uri));
  return parts ? `https://bsky.app/profile/${parts[1]}/post/${parts[2]}` : null;
}

function clipped(value: string, length = 120): string {
  return value.length > length ? `${value.slice(0, length).trimEnd()}…` : value;
}

function line(label: string, ...content: (Node | string)[]): HTMLElement {
  return h('li', {}, h('span', { class: 'embed-kind' }, label), ' ', ...content.map((part) => (typeof part === 'string' ? h('bdi', {}, part) : part)));
}

function images(embed: Json): HTMLElement[] {
  const all = Array.isArray(embed.images) ? embed.images : [];
  const described = all.map((image) => text(object(image).alt).trim()).filter(Boolean);
  const words = described.length > 0 ? described.map((alt) => clipped(alt)).join(' · ') : 'not described';
  return all.length === 0 ? [] : [line(plural(all.length, 'image'), words)];
}

function card(embed: Json): HTMLElement[] {
  const external = object(embed.external);
  const address = webAddress(external.uri);
  if (!address) return [];
  const host = new URL(address).hostname.replace(/^www\./, '');
  const title = clipped(text(external.title).trim()) || host;
  return [line('Link', outsideLink(address, {}, h('bdi', {}, title)), title === host ? '' : ` ${host}`)];
}

function quote(record: unknown): HTMLElement[] {
  const uri = object(record).uri ?? object(object(record).record).uri;
  const address = postAddress(uri);
  if (address) return [line('Quote', outsideLink(address, {}, 'the quoted post'))];
  return typeof uri === 'string' ? [line('Quote', clipped(uri, 80))] : [];
}

function lines(embed: Json, depth: number): HTMLElement[] {
  switch (text(embed.$type).split('#')[0]) {
    case 'app.bsky.embed.images':
      return images(embed);
    case 'app.bsky.embed.video':
      return [line('Video', clipped(text(embed.alt).trim()) || 'not described')];
    case 'app.bsky.embed.external':
      return card(embed);
    case 'app.bsky.embed.record':
      return quote(embed.record);
    case 'app.bsky.embed.recordWithMedia':
      return depth > 0 ? [] : [...lines(object(embed.media), depth + 1), ...quote(embed.record)];
    default:
      return embed.$type ? [line('Attachment', clipped(text(embed.$type), 60))] : [];
  }
}

export function embedLines(embed: unknown, replyParent: string | null): HTMLElement | null {
  const all = lines(object(embed), 0);
  const parent = postAddress(replyParent);
  if (parent) all.unshift(line('Reply', outsideLink(parent, {}, 'to this post')));
  return all.length > 0 ? h('ul', { class: 'embeds' }, ...all) : null;
}
