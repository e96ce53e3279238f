// What is searched for: in the form, in the address of the page, and in requests.
import { isDate } from '../format';
import { tokens } from './tokens';

export interface Query {
  q: string;
  username: string;
  start: string;
  end: string;
  lang: string;
  exact: boolean;
  asof: string; // a citation's end of the range
  cited: string; // what it found then
  cursor: string;
  page: number;
  size: number;
}
export type Field = 'q' | 'username' | 'start' | 'end' | 'lang';
export const SIZES = [10, 25, 50, 100];
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/;

export function fromAddress(parameters: URLSearchParams): Query {
  const value = (name: string): string => parameters.get(name) ?? '';
  const size = Number(value('size'));
  const page = Number(value('page'));
  return {
    q: value('q'),
    username: value('username'),
    start: value('start'),
    end: value('end'),
    lang: value('lang'),
    exact: value('exact') === 'true',
    asof: MOMENT.test(value('asof')) ? value('asof') : '',
    cited: value('cited'),
    cursor: value('cursor'),
    page: Number.isInteger(page) && page > 1 && value('cursor') ? page : 1,
    size: SIZES.includes(size) ? size : SIZES[0]!,
  };
}

function filters(query: Query): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const name of ['q', 'username', 'start', 'end', 'lang'] as const) if (query[name]) parameters.set(name, query[name]);
  if (query.exact) parameters.set('exact', 'true');
  return parameters;
}

export function toAddress(query: Query): string {
  const parameters = filters(query);
  for (const name of ['asof', 'cited'] as const) if (query[name]) parameters.set(name, query[name]);
  if (query.size !== SIZES[0]) parameters.set('size', String(query.size));
  if (query.cursor) {
    parameters.set('page', String(query.page));
    parameters.set('cursor', query.cursor);
  }
  return `#/search?${parameters}`;
}

/** For /counts and /export: everything that matches. */
export function toFilters(query: Query): URLSearchParams {
  const parameters = filters(query);
  if (query.username) parameters.set('username', query.username.replace(/^@/, ''));
  if (query.asof && (!query.end || query.end >= query.asof.slice(0, 10))) parameters.set('end', query.asof);
  return parameters;
}

export function toSearch(query: Query): URLSearchParams {
  const parameters = toFilters(query);
  parameters.set('limit', String(query.size));
  if (query.cursor) parameters.set('cursor', query.cursor);
  return parameters;
}

const USERNAME = /^@?[a-zA-Z0-9._-]+$|^did:[a-z]+:[a-zA-Z0-9._:%-]+$/;

/** What is wrong, by field. */
export function faults(query: Query): Partial<Record<Field, string>> {
  const found: Partial<Record<Field, string>> = {};
  if (!query.q) found.q = 'Enter some text, a hashtag or an operator such as from:alice.bsky.social';
  if (query.username && !USERNAME.test(query.username))
    found.username = 'Only letters, digits, dots, hyphens and underscores; or a DID (did:plc:…)';
  if (query.start && !isDate(query.start)) found.start = 'Not a date';
  if (query.end && !isDate(query.end)) found.end = 'Not a date';
  if (!found.start && !found.end && query.start && query.end && query.end < query.start)
    found.end = 'End date must be after start date';
  return found;
}

/** Words to highlight when the server names none. */
export function words(query: Query): string[] {
  return tokens(query.q)
    .filter((token) => !token.negated && ['word', 'phrase', 'tag'].includes(token.kind))
    .map((token) => (token.kind === 'tag' ? `#${token.value}` : token.value));
}
