// The means over time as uPlot draws them: a band of one standard deviation, a faint line and a point for each.
import uPlot from 'uplot';
import { number } from './format.ts';
import { colour } from './theme.ts';
import type { Result } from './types.ts';

export type Axis = 'timestamp' | 'computedAt';

interface Events {
  onPoint(id: string | null): void;
  onChoose(id: string): void;
  onRange(from: string, to: string): void;
}

const HEIGHT = 280;
const MIN_DRAG = 6; // pixels; less is a press
const POINTS_UP_TO = 1_000;

export class Plot {
  #plot: uPlot;
  #sorted: Result[] = [];
  #unit = 1;
  #marked: string | null = null;
  #watcher: ResizeObserver;

  constructor(place: HTMLElement, events: Events) {
    const [ink, line, accent, band] = ['--muted', '--line', '--accent', '--band'].map((name) => colour(place, name)) as [
      string,
      string,
      string,
      string,
    ];
    const font = `12px ${getComputedStyle(place).fontFamily}`;
    const ticks = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: place.clientWidth || 600,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), 'Etc/UTC'),
        legend: { show: false },
        scales: { x: { range: timeRange } },
        padding: [12, 42, 0, 4],
        cursor: { drag: { x: true, y: false, setScale: false, dist: MIN_DRAG }, points: { size: 9 }, y: false },
        axes: [
          { ...ticks, values: timeLabels, space: 90 },
          { ...ticks, size: axisSize, values: (_, values) => values.map((value) => this.#label(value)), gap: 8 },
        ],
        series: [
          {},
          {
            stroke: line,
            width: 1.5,
            points: { show: (plot) => plot.data[0].length <= POINTS_UP_TO, fill: accent, size: 5, width: 0 },
          },
          { stroke: 'transparent', points: { show: false } },
          { stroke: 'transparent', points: { show: false } },
        ],
        bands: [{ series: [2, 3], fill: band }],
        hooks: {
          setCursor: [(plot) => events.onPoint(this.#at(plot)?.id ?? null)],
          setSelect: [(plot) => this.#selected(plot, events)],
          draw: [(plot) => this.#mark(plot, accent)],
        },
      },
      [[], [], [], []],
      place,
    );
    this.#plot.over.addEventListener('click', () => {
      const result = this.#at(this.#plot);
      if (result) events.onChoose(result.id);
    });
    this.#watcher = new ResizeObserver(() => this.#plot.setSize({ width: place.clientWidth, height: HEIGHT }));
    this.#watcher.observe(place);
    void document.fonts.ready.then(() => this.#plot.redraw(false, true));
  }

  show(results: readonly Result[], axis: Axis, marked: string | null): void {
    const time = (result: Result) => Date.parse(result[axis]) / 1e3;
    this.#marked = marked;
    this.#sorted = [...results].sort((one, other) => time(one) - time(other));
    this.#unit = unit(results);
    const means = this.#sorted.map(({ mean }) => mean / this.#unit);
    const deviations = this.#sorted.map(({ standardDeviation }) => standardDeviation / this.#unit);
    this.#plot.setData([
      this.#sorted.map(time),
      means,
      means.map((mean, index) => mean + (deviations[index] ?? 0)),
      means.map((mean, index) => mean - (deviations[index] ?? 0)),
    ]);
  }

  destroy(): void {
    this.#watcher.disconnect();
    this.#plot.destroy();
  }

  #label(value: number): string {
    const meant = value * this.#unit;
    return Number.isFinite(meant) ? number(meant) : '';
  }

  #at(plot: uPlot): Result | undefined {
    return plot.cursor.idx == null ? undefined : this.#sorted[plot.cursor.idx];
  }

  #selected(plot: uPlot, events: Events): void {
    const { left, width } = plot.select;
    if (width < MIN_DRAG) return;
    const instant = (at: number) => new Date(Math.round(plot.posToVal(at, 'x')) * 1e3).toISOString().replace('.000', '');
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    events.onRange(instant(left), instant(left + width));
  }

  #mark(plot: uPlot, accent: string): void {
    const index = this.#sorted.findIndex(({ id }) => id === this.#marked);
    const [times, means] = plot.data;
    const [time, mean] = [times[index], means?.[index]];
    if (index < 0 || time === undefined || mean == null) return;
    const scale = devicePixelRatio;
    plot.ctx.save();
    plot.ctx.beginPath();
    plot.ctx.arc(plot.valToPos(time, 'x', true), plot.valToPos(mean, 'y', true), 6 * scale, 0, 2 * Math.PI);
    plot.ctx.lineWidth = 2 * scale;
    plot.ctx.strokeStyle = accent;
    plot.ctx.stroke();
    plot.ctx.restore();
  }
}

/** What to draw in: uPlot has no steps for an axis above 1e32, and the distance of two doubles can be no double. */
function unit(results: readonly Result[]): number {
  const largest = results.reduce((size, { mean, standardDeviation }) => Math.max(size, Math.abs(mean), standardDeviation), 0);
  if (largest === 0 || (largest > 1e-15 && largest < 1e15)) return 1;
  return 10 ** Math.max(-300, Math.floor(Math.log10(largest)));
}

/** All of the time; where that is an instant, the minute around it: uPlot would show years behind it. */
function timeRange({ data: [times] }: uPlot, first: number, last: number): [number, number] {
  const [instant] = times;
  return instant !== undefined && instant === times.at(-1) ? [instant - 30, instant + 30] : [first, last];
}

/** Room for the longest label, and for half a date below its end. */
function axisSize(plot: uPlot, labels: string[] | null): number {
  const longest = Math.max(0, ...(labels ?? []).map((label) => plot.ctx.measureText(label).width));
  return Math.max(Math.ceil(longest / devicePixelRatio) + 18, 42);
}

/** The day where it changes, else the time of the day, in UTC and with as much as the steps need. */
function timeLabels(_: uPlot, times: number[], __: number, ___: number, step: number): string[] {
  let day = '';
  return times.map((seconds) => {
    const [date = '', clock = ''] = new Date(seconds * 1e3).toISOString().split('T');
    const isNew = date !== day;
    day = date;
    if (step >= 86_400) return date;
    const shown = step >= 60 ? clock.slice(0, 5) : step >= 1 ? clock.slice(0, 8) : clock.slice(0, 12);
    return isNew ? `${shown}\n${date}` : shown;
  });
}
