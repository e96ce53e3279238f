// The Collection view: is everything being recorded, how much room is left, and what is missing.
import { get, type Gap, type Status } from '../api';
import { chart, type Chart } from '../chart';
import { h, replace, type Child } from '../dom';
import { bytes, count, duration, moment, plural, short } from '../format';
import { failed } from '../states';
import { dataTable, downloadButton, type Data } from '../table';
import type { MountedView } from '../main';

const STATUS_MS = 3000;
const GAPS_MS = 30_000;
const SAMPLES = 200;

type Level = 'good' | 'warning' | 'bad' | 'none';
interface Tile {
  element: HTMLElement;
  set(value: string, note: string, level?: Level): void;
}

function tile(label: string): Tile {
  const value = h('dd', { class: 'tile-value' }, '–');
  const note = h('dd', { class: 'tile-note' });
  const element = h('div', { class: 'tile', 'data-level': 'none' }, h('dt', {}, label), value, note);
  return {
    element,
    set(text, words, level = 'none') {
      if (value.textContent !== text) value.textContent = text;
      if (note.textContent !== words) note.textContent = words;
      element.dataset.level = level;
    },
  };
}

function levelOf(value: number, warning: number, bad: number): Level {
  return value >= bad ? 'bad' : value >= warning ? 'warning' : 'good';
}

interface Tiles {
  rate: Tile;
  lag: Tile;
  buffer: Tile;
  written: Tile;
  events: Tile;
  size: Tile;
  dead: Tile;
  gaps: Tile;
}

function fill(tiles: Tiles, status: Status): void {
  const { totals, buffer } = status;
  if (status.rate_per_second === null) tiles.rate.set('None', 'not collecting: what is recorded can be searched');
  else tiles.rate.set(`${short(Math.round(status.rate_per_second))}/s`, 'events, now', status.rate_per_second > 0 ? 'good' : 'warning');
  if (status.lag_seconds === null) tiles.lag.set('–', 'unknown while not collecting');
  else tiles.lag.set(duration(status.lag_seconds), 'behind the network', levelOf(status.lag_seconds, 60, 600));
  if (!buffer) tiles.buffer.set('–', 'no buffer in use');
  else {
    const left = buffer.hours_left === null ? '' : `, ${duration(buffer.hours_left * 3600)} left`;
    tiles.buffer.set(`${short(buffer.percent)} %`, `${plural(buffer.events, 'event')} in ${bytes(buffer.memory)} of ${bytes(buffer.maxmemory)}${left}`, levelOf(buffer.percent, 50, 80));
  }
  const age = status.last_commit_age_seconds;
  const live = status.writer !== null;
  tiles.written.set(age === null ? '–' : `${duration(age)} ago`, status.last_commit ? `${moment(status.last_commit)} UTC` : 'nothing written yet', age === null || !live ? 'none' : levelOf(age, 600, 1800));
  tiles.events.set(short(totals.rows), `${count(totals.rows)} events in ${plural(totals.files, 'file')}`);
  const raw = totals.raw_bytes ? `; ${Math.round((totals.raw_bytes / Math.max(1, totals.bytes)) * 10) / 10} times smaller than its JSON` : '';
  tiles.size.set(bytes(totals.bytes), `${totals.bytes_per_event === null ? '–' : short(totals.bytes_per_event)} bytes per event${raw}`);
  const dead = status.dead_letters ?? 0;
  tiles.dead.set(count(dead), dead === 0 ? 'every event could be read' : 'set aside, kept as they came', dead === 0 ? 'good' : 'warning');
  const gaps = status.gaps ?? 0;
  tiles.gaps.set(count(gaps), gaps === 0 ? 'nothing known to be missing' : 'not filled again', gaps === 0 ? 'good' : 'warning');
}

/** The recorded range as a band, what is missing in it as marks. */
function gapStrip(gaps: readonly Gap[], oldest: string | null, newest: string | null): HTMLElement {
  const times = [oldest, newest, ...gaps.flatMap((gap) => [gap.from, gap.to])].map((text) => Date.parse(text ?? '')).filter(Number.isFinite);
  if (times.length < 2) return h('p', { class: 'panel-empty' }, 'Nothing recorded yet.');
  const from = Math.min(...times);
  const span = Math.max(1, Math.max(...times) - from);
  const open = gaps.filter((gap) => !gap.healed);
  const strip = h('div', { class: 'strip', role: 'img', 'aria-label': `Recorded range with ${plural(open.length, 'gap')}${open.length < gaps.length ? ` and ${plural(gaps.length - open.length, 'gap')} filled again` : ''}` });
  for (const gap of gaps) {
    const start = (Date.parse(gap.from) - from) / span;
    const mark = h('span', { class: gap.healed ? 'hole healed' : 'hole', title: `${moment(gap.from)} to ${moment(gap.to)} UTC: ${gap.reason}` });
    mark.style.left = `${start * 100}%`;
    mark.style.width = `${Math.max(0, ((Date.parse(gap.to) - Date.parse(gap.from)) / span) * 100)}%`;
    strip.append(mark);
  }
  const ends = h('div', { class: 'strip-ends' }, h('span', {}, moment(new Date(from).toISOString(), false)), h('span', {}, `${moment(new Date(from + span).toISOString(), false)} UTC`));
  return h('div', {}, strip, ends);
}

function gapData(gaps: readonly Gap[]): Data {
  return {
    columns: [{ label: 'From (UTC)' }, { label: 'To (UTC)' }, { label: 'Seconds', numeric: true }, { label: 'Host' }, { label: 'Reason' }, { label: 'State' }],
    rows: gaps.map((gap) => [gap.from, gap.to, Math.round((Date.parse(gap.to) - Date.parse(gap.from)) / 100) / 10, gap.host, gap.reason, gap.healed ? 'filled again' : 'missing']),
  };
}

function section(title: string, className: string, ...content: Child[]): HTMLElement {
  return h('section', { class: `card panel ${className}`, 'aria-label': title }, h('div', { class: 'panel-head' }, h('h2', {}, title)), ...content);
}

export function collectionView(container: HTMLElement): MountedView {
  const tiles: Tiles = {
    rate: tile('Rate'),
    lag: tile('Lag'),
    buffer: tile('Buffer'),
    written: tile('Last write'),
    events: tile('Recorded'),
    size: tile('On disk'),
    dead: tile('Dead letters'),
    gaps: tile('Gaps'),
  };
  const trouble = h('div', { class: 'trouble' });
  const said = h('p', { class: 'hero-figures' }, 'Asking…');
  const rateBody = h('div', { class: 'panel-body' }, h('p', { class: 'panel-empty' }, 'Waiting for the first figures.'));
  const gapBody = h('div', { class: 'panel-body' });
  const deadBody = h('div', { class: 'panel-body' });
  const typeBody = h('div', { class: 'panel-body' });
  const samples: { at: number; rate: number }[] = [];
  let rateChart: Chart | null = null;
  let latest: Status | null = null;
  let gaps: Gap[] | null = null;
  let gapsAsked = 0;
  let drawnTypes = '';
  let drawnDead = '';
  let drawnGaps = '';
  let timer = 0;
  let active = false;

  container.append(
    h('div', { class: 'hero' }, h('h1', {}, 'How the collection is'), said),
    trouble,
    h('dl', { class: 'tiles card' }, ...Object.values(tiles).map((each) => each.element)),
    h(
      'div',
      { class: 'panels' },
      section('Gaps in the recording', 'wide', gapBody),
      h('div', { class: 'stack' }, section('Rate since this page was opened', '', rateBody), section('Dead letters by reason', '', deadBody)),
      section('What is recorded', '', typeBody),
    ),
  );

  function drawRate(status: Status): void {
    if (status.rate_per_second === null) {
      if (samples.length === 0) replace(rateBody, h('p', { class: 'panel-empty' }, 'Nothing is being collected right now.'));
      return;
    }
    samples.push({ at: Math.round(Date.now() / 1000), rate: Math.round(status.rate_per_second * 10) / 10 });
    if (samples.length > SAMPLES) samples.shift();
    const options = {
      summary: `Events per second since this page was opened: now ${short(status.rate_per_second)}.`,
      xs: samples.map((sample) => sample.at),
      series: [{ label: 'Events per second', values: samples.map((sample) => sample.rate) }],
      shape: 'line' as const,
      height: 200,
      step: 3,
      unit: 'events/s',
    };
    if (rateChart) return rateChart.update(options);
    rateChart = chart(options);
    const data = (): Data => ({ columns: [{ label: 'Time (UTC)' }, { label: 'Events per second', numeric: true }], rows: samples.map((sample) => [new Date(sample.at * 1000).toISOString(), sample.rate]) });
    const table = h('details', { class: 'as-table' }, h('summary', {}, 'As a table'));
    table.addEventListener('toggle', () => {
      if (table.open) table.replaceChildren(table.firstElementChild!, dataTable('Events per second', data()));
    });
    replace(rateBody, rateChart.element, h('div', { class: 'panel-foot' }, h('span', { class: 'fine' }, 'A figure every 3 seconds'), downloadButton(data, 'rate', 'rate'), table));
  }

  function drawTypes(status: Status): void {
    const key = JSON.stringify(status.types);
    if (key === drawnTypes) return;
    drawnTypes = key;
    const data: Data = {
      columns: [{ label: 'Type' }, { label: 'Events', numeric: true }, { label: 'Files', numeric: true }, { label: 'Bytes', numeric: true }, { label: 'Bytes per event', numeric: true }],
      rows: status.types.map((type) => [type.type, type.rows, type.files, type.bytes, type.rows ? Math.round((type.bytes / type.rows) * 10) / 10 : null]),
    };
    replace(typeBody, dataTable('Events by type', data), h('div', { class: 'panel-foot' }, h('span'), downloadButton(() => data, 'types', 'events by type')));
  }

  function drawDead(status: Status): void {
    const reasons = status.dead_letters_by_reason ?? [];
    const key = JSON.stringify(reasons);
    if (key === drawnDead) return;
    drawnDead = key;
    const data: Data = { columns: [{ label: 'Reason' }, { label: 'Events', numeric: true }], rows: reasons.map((each) => [each.reason, each.count]) };
    if (reasons.length === 0) replace(deadBody, h('p', { class: 'panel-empty' }, 'None.'));
    else replace(deadBody, dataTable('Dead letters by reason', data), h('div', { class: 'panel-foot' }, h('span', { class: 'fine' }, 'Events that could not be read are kept and can be tried again.'), downloadButton(() => data, 'dead-letters', 'dead letters')));
  }

  function drawGaps(status: Status): void {
    if (!gaps) return;
    // The newest event moves all the time; the band need not be drawn again for less than a minute.
    const key = JSON.stringify([gaps, status.oldest, status.newest?.slice(0, 16)]);
    if (key === drawnGaps) return;
    drawnGaps = key;
    const data = gapData(gaps);
    const readable: Data = { columns: data.columns, rows: data.rows.map(([from, to, ...rest]) => [moment(String(from)), moment(String(to)), ...rest]) };
    replace(
      gapBody,
      gapStrip(gaps, status.oldest, status.newest),
      gaps.length > 0 ? dataTable('Gaps', readable) : h('p', { class: 'fine' }, 'None known.'),
      gaps.length > 0 ? h('div', { class: 'panel-foot' }, h('span', { class: 'fine' }, 'Searches that touch a gap say so.'), downloadButton(() => data, 'gaps', 'gaps')) : null,
    );
  }

  async function ask(): Promise<void> {
    try {
      if (Date.now() - gapsAsked > GAPS_MS) {
        gapsAsked = Date.now();
        gaps = (await get<{ gaps: Gap[] }>('/gaps')).gaps;
      }
      latest = await get<Status>('/status');
    } catch (error) {
      if (!active) return;
      gapsAsked = 0;
      if (!trouble.hasChildNodes()) replace(trouble, h('div', { class: 'card' }, failed(error, () => void ask())));
      said.textContent = latest ? 'These figures are old.' : 'No figures.';
      return;
    }
    if (!active) return;
    trouble.replaceChildren();
    const status = latest;
    const range = status.oldest && status.newest ? `Recorded from ${moment(status.oldest, false)} to ${moment(status.newest, false)} UTC. ` : '';
    said.textContent = `${range}Snapshot ${status.snapshot}, version ${status.version}.`;
    fill(tiles, status);
    drawRate(status);
    drawTypes(status);
    drawDead(status);
    drawGaps(status);
  }

  async function loop(): Promise<void> {
    if (!document.hidden) await ask();
    if (active) timer = window.setTimeout(() => void loop(), STATUS_MS);
  }
  return {
    show() {
      if (active) return;
      active = true;
      void loop();
    },
    leave() {
      active = false;
      clearTimeout(timer);
    },
  };
}
