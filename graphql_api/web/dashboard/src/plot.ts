// The plot of means over time, drawn by uPlot: lines with a point per result. A single line has a band of one standard
// deviation. Lines are broken where results are missing.
import uPlot from 'uplot';
import { number } from './format.ts';
import { resolveColor } from './theme.ts';
import type { Line } from './series.ts';
import type { Result } from './types.ts';

export type Axis = 'timestamp' | 'computedAt';

interface Events {
  onPoint(id: string | null): void;
  onSelect(id: string): void;
  onRange(from: string, to: string): void;
}

const HEIGHT = 280;
const MIN_DRAG = 6; // pixels; a shorter drag is a click
const NEAR = 16; // pixels; of the results that are nearer to the pointer in time, the nearest one is pointed at
const GAP_STEPS = 4; // a step that is longer than this number of usual steps breaks a line

interface Point {
  time: number; // in seconds
  line: number;
  result: Result;
}

export class Plot {
  #plot: uPlot;
  #colors: readonly string[] = [];
  #points: Point[] = [];
  #gaps: [number, number][][] = [];
  #unit = 1;
  #markedId: string | null = null;
  #resizeObserver: ResizeObserver;

  constructor(
    private readonly container: HTMLElement,
    private readonly events: Events,
  ) {
    this.#plot = this.#create();
    this.#resizeObserver = new ResizeObserver(() => this.#plot.setSize({ width: container.clientWidth, height: HEIGHT }));
    this.#resizeObserver.observe(container);
    void document.fonts.ready.then(() => this.#plot.redraw(false, true));
  }

  show(lines: readonly Line[], axis: Axis, markedId: string | null): void {
    this.#markedId = markedId;
    this.#points = lines
      .flatMap(({ results }, line) => results.map((result) => ({ time: Date.parse(result[axis]) / 1e3, line, result })))
      .sort((one, other) => one.time - other.time);
    this.#gaps = lines.map((_, index) => gaps(this.#points.filter(({ line }) => line === index).map(({ time }) => time)));
    this.#unit = unit(this.#points.map(({ result }) => result));
    const colors = lines.map(({ color }) => color);
    if (colors.join() !== this.#colors.join()) {
      this.#plot.destroy();
      this.#colors = colors;
      this.#plot = this.#create();
    }
    const column = (line: number, deviations: number) =>
      this.#points.map(({ line: each, result: { mean, standardDeviation } }) =>
        each === line ? mean / this.#unit + (deviations * standardDeviation) / this.#unit : undefined,
      );
    const times = this.#points.map(({ time }) => time);
    const means = lines.map((_, line) => column(line, 0));
    this.#plot.setData(lines.length === 1 ? [times, ...means, column(0, 1), column(0, -1)] : [times, ...means]);
  }

  destroy(): void {
    this.#resizeObserver.disconnect();
    this.#plot.destroy();
  }

  /** Creates the plot with a series per color. uPlot cannot change them later. */
  #create(): uPlot {
    const { container, events } = this;
    const color = (name: string) => resolveColor(container, name);
    const [ink, grid, accent] = ['--muted', '--line', '--accent'].map(color) as [string, string, string];
    const font = `12px ${getComputedStyle(container).fontFamily}`;
    const ticks = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const isSingle = this.#colors.length === 1;
    const drawn = this.#colors.map((name, line): uPlot.Series => ({
      stroke: name === '--accent' ? grid : color(name),
      width: 1.5,
      gaps: (plot) => this.#gapsOf(plot, line),
      points: { show: true, fill: color(name), size: 5, width: 0 },
    }));
    const edge: uPlot.Series = { stroke: 'transparent', gaps: (plot) => this.#gapsOf(plot, 0), points: { show: false } };
    const pointer = document.createElement('div');
    pointer.className = 'pointed';
    const plot = new uPlot(
      {
        width: container.clientWidth || 600,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1e3), 'Etc/UTC'),
        legend: { show: false },
        scales: { x: { range: timeRange } },
        padding: [12, 42, 0, 4],
        cursor: { drag: { x: true, y: false, setScale: false, dist: MIN_DRAG }, points: { show: false }, y: false },
        axes: [
          { ...ticks, values: timeLabels, space: 90 },
          { ...ticks, size: axisSize, values: (_, values) => values.map((value) => this.#label(value)), gap: 8 },
        ],
        series: [{}, ...drawn, ...(isSingle ? [edge, edge] : [])],
        ...(isSingle && { bands: [{ series: [2, 3], fill: transparent(color(this.#colors[0] as string)) }] }),
        hooks: {
          setCursor: [(created) => this.#point(created, pointer)],
          setSelect: [(created) => this.#selected(created)],
          draw: [(created) => this.#mark(created, accent)],
        },
      },
      [[], ...drawn.map(() => []), ...(isSingle ? [[], []] : [])],
      container,
    );
    plot.over.append(pointer);
    plot.over.addEventListener('click', () => {
      const pointed = this.#pointed(plot);
      if (pointed) events.onSelect(pointed.result.id);
    });
    return plot;
  }

  #label(value: number): string {
    const scaled = value * this.#unit;
    return Number.isFinite(scaled) ? number(scaled) : '';
  }

  #gapsOf(plot: uPlot, line: number): uPlot.Series.Gaps {
    return (this.#gaps[line] ?? []).map(([from, to]) => [plot.valToPos(from, 'x', true), plot.valToPos(to, 'x', true)]);
  }

  #position(plot: uPlot, { time, result }: Point, onCanvas = false): [number, number] {
    return [plot.valToPos(time, 'x', onCanvas), plot.valToPos(result.mean / this.#unit, 'y', onCanvas)];
  }

  #pointed(plot: uPlot): Point | undefined {
    const { idx, left = 0, top = 0 } = plot.cursor;
    if (idx == null) return undefined;
    const isNear = ({ time }: Point) => Math.abs(plot.valToPos(time, 'x') - left) <= NEAR;
    let [first, last] = [idx, idx];
    while (first > 0 && isNear(this.#points[first - 1] as Point)) first -= 1;
    while (last < this.#points.length - 1 && isNear(this.#points[last + 1] as Point)) last += 1;
    const distance = (point: Point) => {
      const [x, y] = this.#position(plot, point);
      return Math.hypot(x - left, y - top);
    };
    return this.#points.slice(first, last + 1).reduce((one, other) => (distance(other) < distance(one) ? other : one));
  }

  #point(plot: uPlot, pointer: HTMLElement): void {
    const pointed = this.#pointed(plot);
    pointer.hidden = pointed === undefined;
    if (pointed) {
      const [x, y] = this.#position(plot, pointed);
      pointer.style.transform = `translate(${x}px, ${y}px)`;
    }
    this.events.onPoint(pointed?.result.id ?? null);
  }

  #selected(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < MIN_DRAG) return;
    const timeAt = (at: number) => new Date(Math.round(plot.posToVal(at, 'x')) * 1e3).toISOString().replace('.000', '');
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.events.onRange(timeAt(left), timeAt(left + width));
  }

  #mark(plot: uPlot, accent: string): void {
    const marked = this.#points.find(({ result }) => result.id === this.#markedId);
    if (!marked) return;
    const [x, y] = this.#position(plot, marked, true);
    const scale = devicePixelRatio;
    plot.ctx.save();
    plot.ctx.beginPath();
    plot.ctx.arc(x, y, 6 * scale, 0, 2 * Math.PI);
    plot.ctx.lineWidth = 2 * scale;
    plot.ctx.strokeStyle = accent;
    plot.ctx.stroke();
    plot.ctx.restore();
  }
}

/** Returns the steps that break a line with results at these ascending times. Of all steps, 75 % are at most the usual one. */
function gaps(times: readonly number[]): [number, number][] {
  const steps = times.slice(1).map((time, index): [number, number] => [times[index] as number, time]);
  const lengths = steps.map(([from, to]) => to - from).sort((one, other) => one - other);
  const usual = lengths[Math.floor((lengths.length - 1) * 0.75)] ?? 0;
  return usual > 0 ? steps.filter(([from, to]) => to - from > GAP_STEPS * usual) : [];
}

const transparent = (rgb: string): string => rgb.replace('rgb(', 'rgba(').replace(')', ', 0.15)');

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
