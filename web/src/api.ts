// The HTTP API as the page uses it. Same origin, unless the page was built for another one (VITE_API_BASE).

const BASE = (import.meta.env.VITE_API_BASE ?? '').replace(/\/+$/, '');
const KEY = 'bluelake.key';

export interface Post {
  timestamp: string;
  username: string;
  text: string;
  uri: string;
  did: string;
  handle: string | null;
  display_name: string | null;
  langs: string[] | null;
  created_at: string | null;
  facets: unknown;
  embed: unknown;
  hashtags: string[] | null;
  links: string[] | null;
  reply_parent_uri: string | null;
  quote_uri: string | null;
}
export interface Gap {
  from: string;
  to: string;
  host: string;
  reason: string;
  healed?: boolean;
}
export interface SearchMeta {
  count: number;
  page: number;
  has_more: boolean;
  next_cursor: string | null;
  truncated: boolean;
  limit: number;
  snapshot: number;
  elapsed_ms: number;
  files_read: number;
  files_listed: number;
  gaps: Gap[];
  note: string | null;
  names_pending: boolean;
  matches: string[];
}
export interface SearchAnswer {
  results: Post[];
  meta: SearchMeta;
}
export interface Counts {
  buckets: { start: string; count: number }[];
  bucket?: 'hour' | 'day';
  total: number;
  partial: boolean;
  snapshot: number;
}
export type Cell = string | number | boolean | null | object;
export interface View {
  name: string;
  title?: string;
  columns: string[];
  rows: Cell[][];
  refreshed_at: string | null;
  stale_seconds?: number;
  definition: string;
}
export interface ViewInfo {
  name: string;
  title: string;
  definition: string;
  cadence: string | number;
  refreshed_at: string | null;
  stale_seconds: number | null;
}
export interface Status {
  version: string;
  snapshot: number;
  totals: { files: number; rows: number; bytes: number; raw_bytes: number | null; bytes_per_event: number | null };
  types: { type: string; rows: number; files: number; bytes: number }[];
  newest: string | null;
  oldest: string | null;
  last_commit: string | null;
  last_commit_age_seconds: number | null;
  ingest: unknown;
  writer: unknown;
  rate_per_second: number | null;
  lag_seconds: number | null;
  buffer: { events: number; memory: number; maxmemory: number; percent: number; hours_left: number | null } | null;
  dead_letters: number | null;
  dead_letters_by_reason: { reason: string; count: number }[] | null;
  gaps: number | null;
}

/** A request that gave no answer: what happened, and what can be done about it. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly parameter: string | null = null,
    readonly cure: string | null = null,
    readonly retryAfter: number | null = null,
    readonly requestId: string | null = null,
  ) {
    super(message);
  }
}

export function setKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

export function address(path: string, parameters?: URLSearchParams): string {
  const query = parameters?.toString() ?? '';
  return `${BASE}${path}${query ? `?${query}` : ''}`;
}

/** A browser does not tell a page whether a server of another origin is away or unwilling. */
function unreachable(): string {
  const there = new URL(address('/'), location.href).origin;
  if (there === location.origin) return 'Check that it is running, then try again.';
  return `Check that ${there} is running, and that its setting serve.cors_origins lists ${location.origin}.`;
}

export async function request(path: string, parameters?: URLSearchParams, signal?: AbortSignal): Promise<Response> {
  const key = sessionStorage.getItem(KEY);
  let response: Response;
  try {
    response = await fetch(address(path, parameters), {
      signal: signal ?? null,
      credentials: 'omit',
      headers: key ? { Authorization: `Bearer ${key}` } : {},
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('The server does not answer.', 0, 'unreachable', null, unreachable());
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<ApiError> {
  const retry = Number(response.headers.get('Retry-After') ?? NaN);
  const id = response.headers.get('X-Request-Id');
  let error: Record<string, unknown> = {};
  try {
    error = ((await response.json()) as { error?: Record<string, unknown> }).error ?? {};
  } catch {
    // A proxy in between answers in its own words.
  }
  const text = (value: unknown): string | null => (typeof value === 'string' && value ? value : null);
  return new ApiError(
    text(error.message) ?? `The server answered ${response.status}.`,
    response.status,
    text(error.code) ?? 'http',
    text(error.parameter),
    text(error.cure),
    Number.isFinite(retry) ? retry : null,
    id,
  );
}

export async function get<T>(path: string, parameters?: URLSearchParams, signal?: AbortSignal): Promise<T> {
  const response = await request(path, parameters, signal);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError('The answer broke off.', response.status, 'broken', null, 'Try again.');
  }
}

export function wasAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}
