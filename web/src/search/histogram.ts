// How many posts match, over time: shown before the rows, because the size of an answer comes before its details.
import type { Counts } from '../api';
import type { Chart } from '../chart';
import { h, replace } from '../dom';
import { count, moment, plural } from '../format';
import { dataTable, downloadButton, type Data } from '../table';

export interface Histogram {
  element: HTMLElement;
  wait(): void;
  show(counts: Counts): Promise<void>;
  fail(message: string): void;
}

function stepOf(starts: number[], bucket: Counts['bucket']): number {
  if (bucket) return bucket === 'day' ? 86400 : 3600;
  let step = Infinity;
  for (let at = 1; at < starts.length; at++) step = Math.min(step, starts[at]! - starts[at - 1]!);
  return Number.isFinite(step) ? step : 3600;
}

/** Buckets without posts are not in the answer, but they are on the axis. */
export function filled(counts: Counts): { xs: number[]; values: number[]; step: number } {
  const starts = counts.buckets.map((bucket) => Date.parse(bucket.start) / 1000);
  const step = stepOf(starts, counts.bucket);
  const byStart = new Map(starts.map((start, at) => [start, counts.buckets[at]!.count]));
  const first = starts[0] ?? 0;
  const steps = Math.min(20_000, Math.round(((starts.at(-1) ?? 0) - first) / step));
  const xs = Array.from({ length: steps + 1 }, (_, at) => first + at * step);
  return { xs, values: xs.map((x) => byStart.get(x) ?? 0), step };
}

export function histogram(): Histogram {
  const plot = h('div', { class: 'histogram-plot' });
  const caption = h('p', { class: 'histogram-caption' });
  const element = h('div', { class: 'histogram' }, plot, caption);
  let drawn: Chart | null = null;
  const clear = (): void => {
    drawn?.destroy();
    drawn = null;
  };
  return {
    element,
    wait() {
      clear();
      replace(plot, h('span', { class: 'bone plot-120', 'aria-hidden': 'true' }));
      replace(caption, 'Counting…');
    },
    async show(counts) {
      clear();
      const { xs, values, step } = filled(counts);
      element.hidden = counts.total === 0;
      if (counts.total === 0) return;
      const unit = counts.bucket ?? (step >= 86400 ? 'day' : 'hour');
      const top = values.indexOf(Math.max(...values));
      const start = moment(new Date(xs[top]! * 1000).toISOString(), false);
      const peak = `${unit === 'day' ? start.slice(0, 10) : `${start} UTC`} with ${plural(values[top]!, 'post')}`;
      const { chart } = await import('../chart');
      drawn = chart({
        summary: `${plural(counts.total, 'matching post')}, per ${unit}. The most: ${peak}.`,
        xs,
        series: [{ label: 'Posts', values }],
        shape: 'bars',
        height: 120,
        step,
        unit: 'posts',
      });
      const data: Data = {
        columns: [{ label: unit === 'day' ? 'Day (UTC)' : 'Hour (UTC)' }, { label: 'Posts', numeric: true }],
        rows: counts.buckets.map((bucket) => [bucket.start, bucket.count]),
      };
      const table = h('details', { class: 'as-table' }, h('summary', {}, 'As a table'));
      table.addEventListener('toggle', () => {
        if (table.open && !table.querySelector('table')) table.append(dataTable(`Matching posts per ${unit}`, data));
      });
      replace(plot, drawn.element);
      replace(
        caption,
        h('span', {}, `Posts per ${unit}, ${counts.partial ? 'at least ' : ''}${count(counts.total)} in all. The most: ${peak}.`),
        downloadButton(() => data, 'counts', `matching posts per ${unit}`),
        table,
      );
    },
    fail(message) {
      clear();
      replace(plot);
      replace(caption, `The posts could not be counted: ${message}`);
    },
  };
}
