// Charts on canvas. Colours come from the style sheet, so that light and dark are decided in one place.
import uPlot from 'uplot';
import { h } from './dom';
import { short } from './format';

export interface ChartSeries {
  label: string;
  values: (number | null)[];
}
export interface ChartOptions {
  summary: string; // what a person sees in it, for those who cannot
  xs: number[]; // seconds since 1970 for times, else 0, 1, 2, ...
  labels?: string[]; // of the categories; times when absent
  series: ChartSeries[];
  shape: 'bars' | 'line';
  height?: number;
  step?: number; // distance of two bars in x
  unit?: string;
}

const FONT = '12px Inter, "Open Sans", system-ui, sans-serif';
const COLOURS = ['--series-1', '--series-2', '--series-3', '--series-4'];

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const DAY = 86400;
const TICKS = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720, 1440, 2160, 4320, 8760].map((hours) => hours * 3600);

function dayLabel(seconds: number): string {
  const date = new Date(seconds * 1000);
  return `${date.getUTCDate()} ${date.toLocaleString('en', { month: 'short', timeZone: 'UTC' })}`;
}
function clockLabel(seconds: number, step: number): string {
  return new Date(seconds * 1000).toISOString().slice(11, step < 60 ? 19 : 16);
}

/** The day is written once, below the first of its hours. */
function timeTicks(splits: number[], step: number): string[] {
  if (step >= DAY) return splits.map(dayLabel);
  return splits.map((at, n) => {
    const newDay = n === 0 || Math.floor(at / DAY) !== Math.floor(splits[n - 1]! / DAY);
    return `${clockLabel(at, step)}${newDay ? `\n${dayLabel(at)}` : ''}`;
  });
}

function timeTip(seconds: number, step: number): string {
  return step >= DAY ? dayLabel(seconds) : `${dayLabel(seconds)} ${clockLabel(seconds, step)} UTC`;
}

function tipPlugin(options: ChartOptions): uPlot.Plugin {
  const tip = h('div', { class: 'chart-tip', hidden: true });
  const move = (u: uPlot): void => {
    const at = u.cursor.idx;
    tip.hidden = at === null || at === undefined || (u.cursor.left ?? -1) < 0;
    if (tip.hidden) return;
    const x = options.labels ? (options.labels[at!] ?? '') : timeTip(options.xs[at!]!, options.step ?? 3600);
    const lines = options.series.map((series) => {
      const value = series.values[at!];
      return `${options.series.length > 1 ? `${series.label}: ` : ''}${value === null || value === undefined ? '–' : short(value)}${options.unit ? ` ${options.unit}` : ''}`;
    });
    tip.textContent = [x, ...lines].join('\n');
    const left = u.valToPos(options.xs[at!]!, 'x');
    tip.classList.toggle('leftwards', left > u.over.clientWidth / 2);
    tip.style.left = `${left}px`;
  };
  return { hooks: { init: (u) => void u.over.append(tip), setCursor: move } };
}

function xAxis(options: ChartOptions, grid: string, ink: string): uPlot.Axis {
  const axis: uPlot.Axis = { stroke: ink, grid: { show: false }, ticks: { stroke: grid, size: 4 }, font: FONT, size: 40, gap: 4 };
  axis.space = 64;
  axis.values = (_u, splits, _axis, _space, step) => timeTicks(splits, step);
  // Between two hours, or two days, there is nothing that could bear a label.
  if ((options.step ?? 0) >= 3600) axis.incrs = TICKS.filter((tick) => tick >= (options.step ?? 0));
  if (options.labels) {
    const labels = options.labels;
    axis.incrs = [1, 2, 3, 4, 6, 8, 12, 24, 48];
    axis.space = 46;
    axis.size = 28;
    axis.values = (_u, splits) => splits.map((at) => (Number.isInteger(at) ? (labels[at] ?? '') : ''));
  }
  return axis;
}

function build(options: ChartOptions, width: number, height: number, parent: HTMLElement): uPlot {
  const ink = colour('--ink-soft');
  const grid = colour('--line');
  const step = options.step ?? 1;
  const first = options.xs[0] ?? 0;
  const last = options.xs.at(-1) ?? 1;
  const few = options.xs.length < 4 ? 2 : 0;
  const margin = options.shape === 'bars' || first === last ? step * (0.5 + few) : 0;
  const bars = uPlot.paths.bars!({ size: [0.82, 64], align: 0, radius: 0.12 });
  return new uPlot(
    {
      width,
      height,
      padding: [8, 18, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { show: options.shape === 'line' } },
      scales: {
        x: { time: !options.labels, range: () => [first - margin, last + margin] },
        y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.06 : 1] },
      },
      axes: [
        xAxis(options, grid, ink),
        {
          stroke: ink,
          grid: { stroke: grid, width: 1 },
          ticks: { show: false },
          font: FONT,
          size: 52,
          space: 34,
          values: (_u, splits) => splits.map((value) => short(value)),
        },
      ],
      series: [
        {},
        ...options.series.map((series, at): uPlot.Series => {
          const stroke = colour(COLOURS[at % COLOURS.length]!);
          return options.shape === 'bars'
            ? { label: series.label, stroke, fill: stroke, width: 0, paths: bars, points: { show: false } }
            : { label: series.label, stroke, width: 2, points: { show: options.xs.length < 3, size: 6, fill: stroke } };
        }),
      ],
      plugins: [tipPlugin(options)],
    },
    [options.xs, ...options.series.map((series) => series.values)] as uPlot.AlignedData,
    parent,
  );
}

export interface Chart {
  element: HTMLElement;
  update(options: ChartOptions): void;
  destroy(): void;
}

export function chart(options: ChartOptions): Chart {
  const height = options.height ?? 200;
  const plot = h('div', { class: `plot plot-${height}`, role: 'img', 'aria-label': options.summary });
  const legend = h('ul', { class: 'legend', 'aria-hidden': 'true' });
  options.series.forEach((series, at) => legend.append(h('li', { class: `series-${at + 1}` }, series.label)));
  const element = h('div', { class: 'chart' }, plot, options.series.length > 1 ? legend : null);
  let drawn: uPlot | null = null;

  const draw = (): void => {
    const width = Math.floor(plot.clientWidth);
    if (width === 0) return;
    drawn?.destroy();
    drawn = build(options, width, height, plot);
  };
  let width = 0;
  const sizes = new ResizeObserver(() => {
    const now = Math.floor(plot.clientWidth);
    if (now === width || now === 0) return;
    width = now;
    if (drawn) drawn.setSize({ width, height });
    else draw();
  });
  sizes.observe(plot);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', draw);
  return {
    element,
    update(next) {
      options = next;
      plot.setAttribute('aria-label', next.summary);
      draw();
    },
    destroy() {
      sizes.disconnect();
      scheme.removeEventListener('change', draw);
      drawn?.destroy();
    },
  };
}
