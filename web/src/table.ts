// Tables that stand for every chart, and their download.
import { append, h, icon, saveAs, type Child } from './dom';
import { count, day } from './format';

export interface Column {
  label: string;
  numeric?: boolean;
}
export type Value = string | number | boolean | null;
export interface Data {
  columns: Column[];
  rows: Value[][];
}

export function show(value: Value): string {
  if (value === null) return '–';
  if (typeof value === 'number') return Number.isInteger(value) ? count(value) : String(Math.round(value * 100) / 100);
  return String(value);
}

/** Spreadsheets run what starts like a formula; a leading apostrophe makes it text. */
function csvCell(value: Value): string {
  if (value === null) return '';
  if (typeof value !== 'string') return String(value);
  const text = /^[=+\-@\t\r\uFF1D\uFF0B\uFF0D\uFF20]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}

export function csv(data: Data): string {
  const lines = [data.columns.map((column) => column.label), ...data.rows];
  return lines.map((line) => `${line.map(csvCell).join(',')}\r\n`).join('');
}

export function downloadButton(data: () => Data, name: string, what: string): HTMLButtonElement {
  const save = (): void =>
    saveAs(new Blob([csv(data())], { type: 'text/csv;charset=utf-8' }), `bluesky-${name}-${day(new Date())}.csv`);
  return h('button', { type: 'button', class: 'button quiet', onclick: save, 'aria-label': `Download CSV: ${what}` }, icon('download'), 'CSV');
}

/** `draw` may show a cell in another way than as its text. */
export function dataTable(caption: string, data: Data, draw?: (row: number, column: number) => Child): HTMLElement {
  const head = h('tr');
  append(head, data.columns.map((column) => h('th', { scope: 'col', class: column.numeric ? 'numeric' : null }, column.label)));
  const body = h('tbody');
  data.rows.forEach((row, r) => {
    const line = h('tr');
    data.columns.forEach((column, c) => {
      const content = draw?.(r, c) ?? h('bdi', {}, show(row[c] ?? null));
      const cell = c === 0 ? h('th', { scope: 'row' }, content) : h('td', {}, content);
      if (column.numeric) cell.className = 'numeric';
      else if (/^\d{4}-\d{2}-\d{2}/.test(String(row[c]))) cell.className = 'time';
      line.append(cell);
    });
    body.append(line);
  });
  const table = h('table', { class: 'data' }, h('caption', { class: 'spoken' }, caption), h('thead', {}, head), body);
  return h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption }, table);
}
