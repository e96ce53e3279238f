// A post's text with its links, tags, mentions and the words that were searched for. Facets count bytes of UTF-8, so every range
// is checked against the text before it is believed: inside it, on character boundaries, not overlapping.
import { h, outsideLink, webAddress } from '../dom';

export interface Link {
  kind: 'web' | 'tag' | 'mention';
  value: string;
}
interface Range {
  from: number; // UTF-16 units
  to: number;
}
interface LinkRange extends Range {
  link: Link;
}

/** UTF-16 offset of every byte that starts a character; -1 for the others. */
function characterStarts(text: string): Int32Array {
  const starts = new Int32Array(text.length * 3 + 1).fill(-1);
  let byte = 0;
  let unit = 0;
  for (const character of text) {
    starts[byte] = unit;
    const code = character.codePointAt(0)!;
    byte += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    unit += character.length;
  }
  starts[byte] = unit;
  return starts.subarray(0, byte + 1);
}

function object(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function linkOf(features: unknown): Link | null {
  if (!Array.isArray(features)) return null;
  for (const each of features) {
    const feature = object(each);
    const web = webAddress(feature.uri);
    if (feature.$type === 'app.bsky.richtext.facet#link' && web) return { kind: 'web', value: web };
    if (feature.$type === 'app.bsky.richtext.facet#tag' && typeof feature.tag === 'string' && feature.tag)
      return { kind: 'tag', value: feature.tag };
    if (feature.$type === 'app.bsky.richtext.facet#mention' && typeof feature.did === 'string' && feature.did.startsWith('did:'))
      return { kind: 'mention', value: feature.did };
  }
  return null;
}

export function linkRanges(text: string, facets: unknown): LinkRange[] {
  if (!Array.isArray(facets) || facets.length === 0) return [];
  const starts = characterStarts(text);
  const unitAt = (byte: unknown): number =>
    typeof byte === 'number' && Number.isInteger(byte) && byte >= 0 && byte < starts.length ? starts[byte]! : -1;
  const ranges: LinkRange[] = [];
  for (const facet of facets) {
    const index = object(object(facet).index);
    const from = unitAt(index.byteStart);
    const to = unitAt(index.byteEnd);
    const link = linkOf(object(facet).features);
    if (link && from >= 0 && to > from) ranges.push({ from, to, link });
  }
  ranges.sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  return ranges.filter((range) => {
    const apart = range.from >= end;
    if (apart) end = range.to;
    return apart;
  });
}

/** Small letters, one unit for one unit, so that offsets stay what they are. */
function fold(text: string): string {
  let folded = '';
  for (const character of text) {
    const small = character.toLowerCase();
    folded += small.length === character.length ? small : character;
  }
  return folded;
}

export function matchRanges(text: string, words: readonly string[], exact: boolean): Range[] {
  const haystack = exact ? text : fold(text);
  const ranges: Range[] = [];
  for (const word of words) {
    const needle = exact ? word : fold(word);
    if (!needle) continue;
    for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + needle.length))
      ranges.push({ from: at, to: at + needle.length });
  }
  ranges.sort((a, b) => a.from - b.from || b.to - a.to);
  const merged: Range[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last && range.from <= last.to) last.to = Math.max(last.to, range.to);
    else merged.push(range);
  }
  return merged;
}

/** Where a preview of about `wanted` characters ends: never inside a character, better between words. */
export function previewEnd(text: string, wanted: number): number {
  if (text.length <= wanted + 20) return text.length;
  let end = 0;
  for (const part of new Intl.Segmenter(undefined, { granularity: 'grapheme' }).segment(text.slice(0, wanted * 4))) {
    if (part.index >= wanted) break;
    end = part.index + part.segment.length;
  }
  if (end === 0 || end > wanted * 2) end = wanted;
  const space = text.lastIndexOf(' ', end);
  return space > end - 20 && space > 0 ? space : end;
}

function highlighted(text: string, offset: number, matches: readonly Range[]): Node[] {
  const nodes: Node[] = [];
  let at = 0;
  for (const match of matches) {
    const from = Math.max(0, match.from - offset);
    const to = Math.min(text.length, match.to - offset);
    if (to <= from || to <= at) continue;
    if (from > at) nodes.push(document.createTextNode(text.slice(at, from)));
    nodes.push(h('mark', {}, text.slice(Math.max(at, from), to)));
    at = to;
  }
  if (at < text.length) nodes.push(document.createTextNode(text.slice(at)));
  return nodes;
}

function anchor(link: Link): HTMLAnchorElement {
  if (link.kind === 'web') return outsideLink(link.value, { class: 'in-text', title: link.value });
  const query = link.kind === 'tag' ? `#${link.value}` : `from:${link.value}`;
  const title = link.kind === 'tag' ? `Search for #${link.value}` : `Posts of ${link.value}`;
  return h('a', { class: 'in-text', href: `#/search?${new URLSearchParams({ q: query })}`, title });
}

/** Nodes for the first `end` units of the text. */
export function richText(text: string, links: readonly LinkRange[], matches: readonly Range[], end = text.length): Node[] {
  const nodes: Node[] = [];
  let at = 0;
  for (const range of links) {
    if (range.from >= end) break;
    nodes.push(...highlighted(text.slice(at, range.from), at, matches));
    const a = anchor(range.link);
    const to = Math.min(range.to, end);
    a.append(...highlighted(text.slice(range.from, to), range.from, matches));
    nodes.push(a);
    at = to;
  }
  nodes.push(...highlighted(text.slice(at, end), at, matches));
  return nodes;
}
