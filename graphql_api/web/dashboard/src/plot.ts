// The plot of means over time, drawn by uPlot: a band of one standard deviation, a line, and a point per result.
import uPlot from 'uplot';
import { number } from './format.ts';
import { resolveColor } from './theme.ts';
import type { Result } from './types.ts';

export type Axis = 'timestamp' | 'computedAt';

interface Events {
  onPoint(id: string | null): void;
  onSelect(id: string): void;
  onRange(from: string, to: string): void;
}

const HEIGHT = 280;
const MIN_DRAG = 6; // pixels; a shorter drag is a click
const MAX_POINTS = 1_000;

export class Plot {
  #plot: uPlot;
  #sorted: Result[] = [];
  #unit = 1;
  #markedId: string | null = null;
  #resizeObserver: ResizeObserver;

  constructor(container: HTMLElement, events: Events) {
    const [ink, line, accent, band] = ['--muted', '--line', '--accent', '--band'].map((name) => resolveColor(container, name)) as [
      string,
      string,
      string,
      string,
    ];
    const font = `12px ${getComputedStyle(container).fontFamily}`;
    const ticks = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width: container.clientWidth || 600,
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
            points: { show: (plot) => plot.data[0].length <= MAX_POINTS, fill: accent, size: 5, width: 0 },
          },
          { stroke: 'transparent', points: { show: false } },
          { stroke: 'transparent', points: { show: false } },
        ],
        bands: [{ series: [2, 3], fill: band }],
        hooks: {
          setCursor: [(plot) => events.onPoint(this.#pointed(plot)?.id ?? null)],
          setSelect: [(plot) => this.#selected(plot, events)],
          draw: [(plot) => this.#mark(plot, accent)],
        },
      },
      [[], [], [], []],
      container,
    );
    this.#plot.over.addEventListener('click', () => {
      const result = this.#pointed(this.#plot);
      if (result) events.onSelect(result.id);
    });
    this.#resizeObserver = new ResizeObserver(() => this.#plot.setSize({ width: container.clientWidth, height: HEIGHT }));
    this.#resizeObserver.observe(container);
    void document.fonts.ready.then(() => this.#plot.redraw(false, true));
  }

  show(results: readonly Result[], axis: Axis, markedId: string | null): void {
    const time = (result: Result) => Date.parse(result[axis]) / 1e3;
    this.#markedId = markedId;
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
    this.#resizeObserver.disconnect();
    this.#plot.destroy();
  }

  #label(value: number): string {
    const scaled = value * this.#unit;
    return Number.isFinite(scaled) ? number(scaled) : '';
  }

  #pointed(plot: uPlot): Result | undefined {
    return plot.cursor.idx == null ? undefined : this.#sorted[plot.cursor.idx];
  }

  #selected(plot: uPlot, events: Events): void {
    const { left, width } = plot.select;
    if (width < MIN_DRAG) return;
    const timeAt = (at: number) => new Date(Math.round(plot.posToVal(at, 'x')) * 1e3).toISOString().replace('.000', '');
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    events.onRange(timeAt(left), timeAt(left + width));
  }

  #mark(plot: uPlot, accent: string): void {
    const index = this.#sorted.findIndex(({ id }) => id === this.#markedId);
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

/** Returns the unit of the axis. uPlot has no ticks above 1e32, and the difference of two doubles can overflow. */
function unit(results: readonly Result[]): number {
  const largest = results.reduce((size, { mean, standardDeviation }) => Math.max(size, Math.abs(mean), standardDeviation), 0);
  if (largest === 0 || (largest > 1e-15 && largest < 1e15)) return 1;
  return 10 ** Math.max(-300, Math.floor(Math.log10(largest)));
}

/** Returns the range of the time axis: the range of the results, or one minute if all results have the same time. */
function timeRange({ data: [times] }: uPlot, first: number, last: number): [number, number] {
  const [start] = times;
  return start !== undefined && start === times.at(-1) ? [start - 30, start + 30] : [first, last];
}

/** Returns the width of the value axis. The longest label and half of the first date of the time axis must fit. */
function axisSize(plot: uPlot, labels: string[] | null): number {
  const longest = Math.max(0, ...(labels ?? []).map((label) => plot.ctx.measureText(label).width));
  return Math.max(Math.ceil(longest / devicePixelRatio) + 18, 42);
}

/** Returns times of day in UTC, as precise as the ticks require, with the date where it changes. */
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
