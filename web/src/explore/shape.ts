// Columns of a view by what they mean, so that a view may gain columns without the page being changed.
import type { Cell, View } from '../api';
import { moment } from '../format';
import type { Data, Value } from '../table';

export function flat(cell: Cell | undefined): Value {
  if (cell === undefined || cell === null) return null;
  return typeof cell === 'object' ? JSON.stringify(cell) : cell;
}

export function columnOf(view: View, ...patterns: RegExp[]): number {
  for (const pattern of patterns) {
    const at = view.columns.findIndex((name) => pattern.test(name));
    if (at >= 0) return at;
  }
  return -1;
}

export function texts(view: View, column: number): string[] {
  return view.rows.map((row) => String(flat(row[column]) ?? ''));
}

export function numbers(view: View, column: number): (number | null)[] {
  return view.rows.map((row) => {
    const cell = row[column];
    return cell === null || cell === undefined || cell === '' || !Number.isFinite(Number(cell)) ? null : Number(cell);
  });
}

const LABELS: Record<string, string> = { did: 'DID', uri: 'URI', avg: 'average', pct: 'percent' };
export function label(name: string): string {
  const words = name.split('_').map((word) => LABELS[word] ?? word);
  const text = words.join(' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function asData(view: View): Data {
  const numeric = view.columns.map((_, at) => view.rows.length > 0 && view.rows.every((row) => row[at] === null || typeof row[at] === 'number'));
  return {
    columns: view.columns.map((name, at) => ({ label: label(name), numeric: numeric[at]! })),
    rows: view.rows.map((row) => row.map(flat)),
  };
}

/** Times as people read them; the download keeps them as they are. */
export function readable(data: Data): Data {
  const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}/;
  return { columns: data.columns, rows: data.rows.map((row) => row.map((cell) => (typeof cell === 'string' && time.test(cell) ? moment(cell, false) : cell))) };
}
