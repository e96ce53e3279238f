// The chips against the server's parser: the same words, phrases, tags and operators in the same order, and a search without a chip is
// the search without what the chip stood for.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { before, test } from 'node:test';
import { promisify } from 'node:util';
import { BINARY } from './server.mjs';

const WEB = new URL('../../web/', import.meta.url);
const LABELS = { from: 'written by', mentions: 'mentions', to: 'a reply to', lang: 'in language', since: 'since', until: 'until', domain: 'links to', url: 'with a link that holds', has: 'has' };
const ACCOUNTS = ['from', 'mentions', 'to'];
const EVERYTHING = { kind: 'everything' };
const GENERATED = 300;
const BY_HAND = [
  'cats lang:en', 'black AND cat', '"she said \\"hi\\""', '"a \\\\ b" c', '"a \\b c"', 'url:"?q=a b"', 'url:"?q=a b"dogs', '-url:"a b" #x', '--foo', '---', '-', 'a - b', '(a -)', '-(-)',
  'https://example.com/page', '10:30', '#', '##', '#caturday', '-#ad', '"OR" "AND"', 'or and', 'ORANGE ANDROID', '-OR', '-AND', 'a"b c"', '"a"b', '"a""b"', '"a"OR b', 'a OR"b"', 'a OR(b)',
  'cats OR dogs', '#a OR #b', '#a OR #b OR #c', 'a b OR #c', '#a AND #b', '#a AND #b OR #c', '#a OR #b AND #c', '(#a)', 'x (#a)', 'x -(#a) y', 'x OR (#a)', '((#a) OR (#b)) c', '-(lang:en OR lang:de) cats',
  'black (cat OR dog)', 'x (#a OR b c)', 'from:@alice.example.com', 'from:did:plc:ewvi7nxzyoun6zhxrhs64oiz', 'to:"alice.example.com"', 'since:2026-11-21T08:00:00Z until:"2026-11-21T09:00:00+01:00"',
  'a\u00a0b #c', '\u00a0#c', '#c\u00a0', 'a\tb\n#c', '\u3000 #a', 'url:a\u3000b', '🎉 été 猫 #猫', 'url:a"b c', 'lang:en#x', '#a#b', '#a:b', '"a:b"', 'x:', 'x:y', 'FROM:alice.example.com', 'From:alice.example.com',
  'from:', 'from://x', 'url://x', 'form:alice', '"never closed', 'url:"never closed', 'cats OR', 'OR cats', '()', '(a', 'a)', '""', 'url:""', '', ' ', 'AND', 'a AND OR b',
];

let tokens, without, chipLabel;
before(async () => {
  const { transform } = createRequire(new URL('package.json', WEB))('esbuild'); // what builds the page
  const source = await readFile(new URL('src/search/tokens.ts', WEB), 'utf8');
  const { code } = await transform(source, { loader: 'ts', format: 'esm' });
  ({ tokens, without, chipLabel } = await import(`data:text/javascript,${encodeURIComponent(code)}`));
});

/** What the server understands, as a tree; null where it refuses. */
async function explain(text) {
  const { stdout } = await promisify(execFile)(BINARY, ['search', '--explain', '--', text]).catch((error) => {
    if (error.code !== 2) throw error;
    return { stdout: null };
  });
  return stdout === null ? null : parse(stdout);
}

function parse(outline) {
  const root = { inner: [] };
  const path = [root];
  for (const line of outline.split('\n').filter(Boolean)) {
    const depth = /^ */.exec(line)[0].length / 2;
    const said = line.trim();
    const node = ['all of', 'any of', 'not'].includes(said) ? { kind: said, inner: [] } : { kind: said };
    path[depth].inner.push(node);
    path[depth + 1] = node;
  }
  return root.inner[0];
}

/** The n-th leaf taken out, and what is empty or single then with it. */
function prune(tree, n) {
  let at = 0;
  const walk = (node) => {
    if (!node.inner) return at++ === n ? null : node;
    const inner = node.inner.map(walk).filter(Boolean);
    if (inner.length === 0) return null;
    return inner.length === 1 && node.kind !== 'not' ? inner[0] : { kind: node.kind, inner };
  };
  return walk(tree) ?? EVERYTHING;
}

function leaves(node, negated = false) {
  if (node.kind === 'everything') return [];
  return node.inner ? node.inner.flatMap((inner) => leaves(inner, node.kind === 'not')) : [{ said: node.kind, negated }];
}

/** A token as the server puts it. JSON there and here escape the same but for what is no text. */
function said(token) {
  const value = ACCOUNTS.includes(token.name) ? token.value.replace(/^@/, '') : token.value;
  const label = token.kind === 'operator' ? LABELS[token.name] : token.kind === 'tag' ? 'tagged' : 'text contains';
  return { said: `${label} ${JSON.stringify(value)}`, negated: token.negated };
}

const isLeaf = (token) => ['word', 'phrase', 'tag', 'operator'].includes(token.kind);

async function compare(text) {
  const tree = await explain(text);
  const read = tokens(text);
  if (tree === null) return false;
  const found = read.filter(isLeaf);
  const grouped = read.some((token) => token.kind === 'open' && token.negated); // "-(x)" negates x from outside
  const strip = (all) => (grouped ? all.map((leaf) => leaf.said) : all);
  assert.deepEqual(strip(found.map(said)), strip(leaves(tree)), `read otherwise: ${JSON.stringify(text)}`);
  for (const [n, token] of found.entries()) {
    if (chipLabel(token) === null) continue;
    const rest = without(text, token);
    assert.deepEqual(await explain(rest), prune(tree, n), `${JSON.stringify(text)} without ${chipLabel(token)} is ${JSON.stringify(rest)}`);
  }
  return true;
}

/** The same searches each time: a linear congruence is random enough. */
function generator(seed) {
  let state = seed;
  const below = (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const one = (list) => list[below(list.length)];
  const ATOMS = ['cat', 'dog', '--x', '-', '#art', '#', '"two words"', '"q\\"q"', '"a\\\\"', 'lang:en', 'has:image', 'url:"a b"', 'url:x"y', 'domain:example.com', 'from:@bob.example.com', 'since:2026-11-01', 'or', 'AND', 'OR', '10:30', 'http://a.b', 'été', 'x\u00a0y', 'LANG:en', '"(" ', 'a-b', '🎉'];
  const item = (depth) => (below(5) === 0 ? '-' : '') + (depth < 3 && below(5) === 0 ? `(${any(depth + 1)})` : one(ATOMS));
  const any = (depth) => {
    let text = item(depth);
    for (let more = below(4); more > 0; more--) text += one([' ', ' ', ' OR ', ' AND ', '  ', '']) + item(depth);
    return text;
  };
  return () => any(0);
}

async function inTurns(all, work) {
  const queue = [...all];
  const results = [];
  const worker = async () => {
    while (queue.length > 0) results.push(await work(queue.shift()));
  };
  await Promise.all([worker(), worker()]);
  return results;
}

test('the page reads searches written by hand as the server does', async () => {
  const valid = await inTurns(BY_HAND, compare);
  assert.ok(valid.filter(Boolean).length >= 65, String(valid.filter(Boolean).length));
});

test('the page reads generated searches as the server does', async () => {
  const next = generator(20261121);
  const valid = await inTurns(Array.from({ length: GENERATED }, next), compare);
  assert.ok(valid.filter(Boolean).length >= GENERATED / 2, String(valid.filter(Boolean).length));
});

test('what the server refuses as an operator is no chip', () => {
  for (const text of ['FROM:alice.example.com', 'form:alice', 'from:', 'x:y']) assert.deepEqual(tokens(text).map(chipLabel), [null], text);
});
