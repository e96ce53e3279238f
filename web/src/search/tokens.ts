// How the search box is read while it is typed in: enough to show chips. The server's parser decides what a search means.

export interface Token {
  kind: 'word' | 'phrase' | 'tag' | 'operator' | 'or' | 'open' | 'close';
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

export function tokens(text: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text[at]!)) at++;
    else at = take(text, at, found);
  }
  return found;
}

function take(text: string, from: number, found: Token[]): number {
  const negated = text[from] === '-' && from + 1 < text.length && !/\s/.test(text[from + 1]!);
  const at = negated ? from + 1 : from;
  const push = (kind: Token['kind'], to: number, value: string, name = ''): number => {
    found.push({ kind, negated, name, value, from, to });
    return to;
  };
  const c = text[at]!;
  if (c === '(') return push('open', at + 1, c);
  if (c === ')') return push('close', at + 1, c);
  if (c === '"') {
    const end = closingQuote(text, at);
    return push('phrase', end, text.slice(at + 1, end - 1).replace(/\\(["\\])/g, '$1'));
  }
  const end = wordEnd(text, at);
  const word = text.slice(at, end);
  if (!negated && word === 'OR') return push('or', end, word);
  if (word.startsWith('#') && word.length > 1) return push('tag', end, word.slice(1));
  const operator = /^([a-z]+):(.+)$/is.exec(word);
  if (operator && KNOWN.has(operator[1]!.toLowerCase())) return push('operator', end, operator[2]!, operator[1]!.toLowerCase());
  return push('word', end, word);
}

function closingQuote(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at + 1;
  }
  return text.length;
}

function wordEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length && !/[\s()]/.test(text[at]!)) at++;
  return Math.max(at, from + 1);
}

/** The text without one of its tokens. */
export function without(text: string, token: Token): string {
  return `${text.slice(0, token.from).trimEnd()} ${text.slice(token.to).trimStart()}`.trim();
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
