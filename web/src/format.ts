// Numbers, sizes and times for people. Times are UTC everywhere: what the API takes and gives.

const plain = new Intl.NumberFormat('en-US');
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 });

export function count(n: number): string {
  return plain.format(n);
}
export function short(n: number): string {
  return Math.abs(n) < 10_000 ? plain.format(Math.round(n * 10) / 10) : compact.format(n);
}
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 0.95) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 90) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 360) / 10} h`;
  return `${plain.format(Math.round(seconds / 86400))} days`;
}

function pad(n: number): string {
  return String(n).padStart(2, '0');
}

export function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}
/** "2026-01-05 12:34:56", or the text as it is when it is no time. */
export function moment(text: string, seconds = true): string {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  return `${day(date)} ${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}${seconds ? `:${pad(date.getUTCSeconds())}` : ''}`;
}

const languageNames = new Intl.DisplayNames(['en'], { type: 'language', fallback: 'code' });
export function language(code: string): string {
  try {
    return languageNames.of(code) ?? code;
  } catch {
    return code;
  }
}

export function isDate(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text));
}

/** did:plc:ewvi7nxz…oiz: enough to tell accounts apart. */
export function shortDid(did: string): string {
  return did.length <= 24 ? did : `${did.slice(0, 16)}…${did.slice(-4)}`;
}
