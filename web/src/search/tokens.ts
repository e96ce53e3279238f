// How the search box is read while it is typed in: enough to show chips. The server's parser (src/query/search.c) decides what a search
// means; tests/web/tokens.test.mjs holds one against the other.

export interface Token {
  kind: 'word' | 'phrase' | 'tag' | 'operator' | 'or' | 'and' | 'open' | 'close';
  negated: boolean;
  name: string; // of an operator, in small letters
  value: string;
  from: number; // range in the text, in UTF-16 units
  to: number;
}

export const OPERATORS = [
  { name: 'from', example: 'from:alice.bsky.social', sentence: 'written by this account (handle or DID)' },
  { name: 'mentions', example: 'mentions:bob.bsky.social', sentence: 'mentions this account' },
  { name: 'to', example: 'to:bob.bsky.social', sentence: 'replies to this account' },
  { name: 'lang', example: 'lang:en', sentence: 'in this language, as the author’s app claims' },
  { name: 'since', example: 'since:2026-01-05', sentence: 'on this day (UTC) or later' },
  { name: 'until', example: 'until:2026-01-06', sentence: 'on this day or earlier' },
  { name: 'domain', example: 'domain:example.com', sentence: 'links to this host or one below it' },
  { name: 'url', example: 'url:example.com/page', sentence: 'links to an address with this in it' },
  { name: 'has', example: 'has:image', sentence: 'has an image, video, link, quote or reply' },
] as const;

const KNOWN = new Set<string>(OPERATORS.map((operator) => operator.name));
const BLANK = ' \t\n\r'; // for the server other spaces are text

const isBlank = (c: string | undefined): boolean => c !== undefined && BLANK.includes(c);
const trim = (text: string): string => text.replace(/^[ \t\n\r]+|[ \t\n\r]+$/g, '');

export function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (isBlank(text[at])) at++;
    else at = take(text, at, found);
  }
  return found;
}

/** A dash alone, or several, are text. */
function negates(text: string, at: number): boolean {
  const next = text[at + 1];
  return text[at] === '-' && next !== undefined && !isBlank(next) && next !== ')' && next !== '-';
}

function take(text: string, from: number, found: Token[]): number {
  const negated = negates(text, from);
  const at = negated ? from + 1 : from;
  const push = (kind: Token['kind'], to: number, value: string, name = ''): number => {
    found.push({ kind, negated, name, value, from, to });
    return to;
  };
  const c = text[at]!;
  if (c === '(') return push('open', at + 1, c);
  if (c === ')') return push('close', at + 1, c);
  if (c === '"') return push('phrase', quoteEnd(text, at), quoted(text, at));
  const end = wordEnd(text, at);
  const word = text.slice(at, end);
  if (!negated && word === 'OR') return push('or', end, word);
  if (!negated && word === 'AND') return push('and', end, word);
  if (word.startsWith('#') && word.length > 1) return push('tag', end, word.slice(1));
  const colon = word.indexOf(':');
  const name = word.slice(0, Math.max(colon, 0));
  if (!KNOWN.has(name) || word.startsWith('//', colon + 1)) return push('word', end, word);
  const start = at + colon + 1;
  if (text[start] === '"') return push('operator', quoteEnd(text, start), quoted(text, start), name);
  return start < end ? push('operator', end, text.slice(start, end), name) : push('word', end, word);
}

function closingQuote(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
  return text.length;
}

function quoteEnd(text: string, open: number): number {
  return Math.min(closingQuote(text, open) + 1, text.length);
}

function quoted(text: string, open: number): string {
  return text.slice(open + 1, closingQuote(text, open)).replace(/\\(["\\])/g, '$1');
}

function wordEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && !isBlank(text[at]) && text[at] !== '(' && text[at] !== ')') at++;
  return Math.max(at, from + 1);
}

/** The text without one of its tokens, and without what held only that: empty parentheses, an OR with one side. */
export function without(text: string, token: Token): string {
  const kept = tokens(text);
  const dropped = kept.splice(kept.findIndex((each) => each.from === token.from), 1);
  for (let at = idle(kept); at >= 0; at = idle(kept)) dropped.push(...kept.splice(at, kept[at]!.kind === 'open' ? 2 : 1));
  return dropped.sort((a, b) => b.from - a.from).reduce(cut, text);
}

/** The first of the tokens that no longer holds anything together. AND goes before OR: it binds more closely. */
function idle(kept: Token[]): number {
  const kinds = kept.map((each) => each.kind);
  const group = kinds.findIndex((kind, at) => kind === 'open' && kinds[at + 1] === 'close');
  if (group >= 0) return group;
  const alone = (kind: Token['kind'], others: (Token['kind'] | undefined)[]): number =>
    kinds.findIndex((each, at) => each === kind && (others.includes(kinds[at - 1]) || kinds[at - 1] === 'open' || others.includes(kinds[at + 1]) || kinds[at + 1] === 'close'));
  const and = alone('and', [undefined, 'and', 'or']);
  return and >= 0 ? and : alone('or', [undefined, 'or']);
}

function cut(text: string, token: Token): string {
  const before = text.slice(0, token.from).replace(/[ \t\n\r]+$/, '');
  const after = text.slice(token.to).replace(/^[ \t\n\r]+/, '');
  const inside = before.endsWith('(') || after.startsWith(')');
  return trim(inside ? before + after : `${before} ${after}`);
}

/** What a chip says; null for plain words and what holds a search together. */
export function chipLabel(token: Token): string | null {
  const not = token.negated ? 'not ' : '';
  switch (token.kind) {
    case 'operator':
      return `${not}${token.name}: ${token.value}`;
    case 'tag':
      return `${not}#${token.value}`;
    case 'phrase':
      return `${not}“${token.value}”`;
    case 'word':
      return token.negated ? `not ${token.value}` : null;
    default:
      return null;
  }
}
