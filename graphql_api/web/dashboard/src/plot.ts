// The plot of means over time, drawn by uPlot, with a point per result. Each line connects the means of its results. If
// the page has loaded a part of the results, it connects the means of all results by time bucket instead. Bands are one
// standard deviation wide. Lines are broken where results are missing.
import uPlot from 'uplot';
import { axisSize, TIME_STEPS, timeLabels, timeTicks, withWidth } from './axes.ts';
import { isoTime, tick } from './format.ts';
import { gaps, pointsOf, typicalValues, unit, type Axis, type Point, type ValueRange } from './points.ts';
import type { Line } from './series.ts';
import { resolveColor } from './theme.ts';
import { typicalRange, type TypicalRange } from './typical_range.ts';

interface Events {
  /** Receives the point at the pointer, and its position in pixels. */
  onPoint(point: Point | null, left: number, top: number): void;
  onSelect(point: Point): void;
  onRange(from: string, to: string): void;
}

interface View {
  lines: readonly Line[];
  axis: Axis;
  markedId: string | null;
  bucketSeconds: number;
  showsOutliers: boolean; // in time
  showsFarMeans: boolean;
}

/** What the plot leaves out, or would leave out if it did not show outliers. */
export interface LeftOut {
  results: number; // far from the others in time
  means: number; // far from the others
}

const HEIGHT = 280;
const MIN_DRAG = 6; // pixels; a shorter drag is a click
const MIN_SECONDS = 60; // a selected range that is shorter has bounds in milliseconds, and a longer one in seconds
const NEAR = 16; // pixels; of the points that are nearer to the pointer in time, the nearest one is pointed at
const MAX_BANDS = 8; // with more lines, bands would cover each other

export class Plot {
  #plot: uPlot;
  #shape: { colors: readonly string[]; hasBuckets: boolean } = { colors: [], hasBuckets: false };
  #points: Point[] = [];
  #gaps: [number, number][][] = [];
  #range: TypicalRange | null = null;
  #values: ValueRange | null = null; // null if all values are displayed
  #unit = 1;
  #bucketSeconds = 0;
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

  /** Draws the lines. Returns what is left out. */
  show({ lines, axis, markedId, bucketSeconds, showsOutliers, showsFarMeans }: View): LeftOut {
    this.#markedId = markedId;
    this.#bucketSeconds = bucketSeconds;
    this.#points = pointsOf(lines, axis);
    const hasBuckets = this.#points.some(({ bucket }) => bucket);
    const connected = hasBuckets ? this.#points.filter(({ bucket }) => bucket) : this.#points;
    this.#gaps = lines.map((_, index) => gaps(connected.filter(({ line }) => line === index).map(({ time }) => time)));
    const all = typicalRange(connected.map(({ time }) => time), connected.map(({ weight }) => weight));
    this.#range = showsOutliers ? null : all;
    const colors = lines.map(({ color }) => color);
    if (colors.join() !== this.#shape.colors.join() || hasBuckets !== this.#shape.hasBuckets) {
      this.#plot.destroy();
      this.#shape = { colors, hasBuckets };
      this.#plot = this.#create();
    }
    const isInside = ({ time }: Point) => !this.#range || (time >= this.#range.first && time <= this.#range.last);
    const values = typicalValues(this.#points.filter(isInside), this.#hasBands);
    this.#values = showsFarMeans ? null : values;
    const { low, high } = this.#values ?? { low: -Infinity, high: Infinity };
    this.#unit = unit(this.#points.filter(({ mean }) => mean >= low && mean <= high), this.#hasBands);
    const column = (line: number, isConnected: boolean, deviations = 0) =>
      this.#points.map((point) => {
        if (point.line !== line || (isConnected && hasBuckets && !point.bucket) || !(isConnected || point.result)) return undefined;
        return this.#within(point.mean / this.#unit + (deviations * point.deviation) / this.#unit);
      });
    const columns = lines.flatMap((_, line) => [
      ...(this.#hasBands ? [column(line, true, 1), column(line, true, -1)] : []),
      column(line, true),
      column(line, false),
    ]);
    this.#plot.setData([this.#points.map(({ time }) => time), ...columns]);
    return { results: all?.leftOut ?? 0, means: values?.leftOut ?? 0 };
  }

  destroy(): void {
    this.#resizeObserver.disconnect();
    this.#plot.destroy();
  }

  get #hasBands(): boolean {
    const { colors, hasBuckets } = this.#shape;
    return colors.length === 1 || (hasBuckets && colors.length <= MAX_BANDS);
  }

  /** Creates the plot with the series of each line: the edges of its band, its line and its points. uPlot cannot change them later. */
  #create(): uPlot {
    const { container, events } = this;
    const { colors, hasBuckets } = this.#shape;
    const color = (name: string) => resolveColor(container, name);
    const [ink, grid, accent] = ['--muted', '--line', '--accent'].map(color) as [string, string, string];
    const font = `12px ${getComputedStyle(container).fontFamily}`;
    const ticks = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const isFaint = colors.length === 1 && !hasBuckets;
    const series = colors.flatMap((name, line): uPlot.Series[] => {
      const gapsOf = (plot: uPlot) => this.#gapsOf(plot, line);
      const edge: uPlot.Series = { stroke: 'transparent', gaps: gapsOf, points: { show: false } };
      const connected: uPlot.Series = { stroke: isFaint ? grid : color(name), width: 1.5, gaps: gapsOf };
      connected.points = { ...(!hasBuckets && { show: false }), fill: color(name), size: 3, width: 0 }; // by default, if alone
      const dots: uPlot.Series = { stroke: color(name), paths: () => null, points: { show: true, fill: color(name), size: 5, width: 0 } };
      return [...(this.#hasBands ? [edge, edge] : []), connected, dots];
    });
    const bands = colors.map((name, line): uPlot.Band => ({ series: [4 * line + 1, 4 * line + 2], fill: transparent(color(name)) }));
    const pointer = document.createElement('div');
    pointer.className = 'pointed';
    const plot = new uPlot(
      {
        width: container.clientWidth || 600,
        height: HEIGHT,
        legend: { show: false },
        scales: { x: { range: () => this.#timeRange() }, y: { range: (_, min, max) => this.#valueRange(min, max) } },
        padding: [22, 42, 0, 4],
        cursor: { drag: { x: true, y: false, setScale: false, dist: MIN_DRAG }, points: { show: false }, y: false },
        axes: [
          { ...ticks, incrs: TIME_STEPS, splits: timeTicks, values: timeLabels, space: 90 },
          {
            ...ticks,
            size: (created, labels) => axisSize(created, labels, font),
            values: (_, values, __, ___, step) => values.map((value) => this.#label(value, step)),
            gap: 8,
          },
        ],
        series: [{}, ...series],
        ...(this.#hasBands && { bands }),
        hooks: {
          setCursor: [(created) => this.#point(created, pointer)],
          setSelect: [(created) => this.#selected(created)],
          draw: [(created) => this.#mark(created, accent)],
        },
      },
      [[], ...series.map(() => [])],
      container,
    );
    plot.over.append(pointer);
    plot.over.addEventListener('click', () => {
      const pointed = this.#pointed(plot);
      if (pointed) events.onSelect(pointed);
    });
    return plot;
  }

  /** Returns the displayed times. They contain the first and the last bucket as a whole, and the results in them. */
  #timeRange(): [number, number] {
    const { first, last } = this.#range ?? { first: this.#points[0]?.time ?? 0, last: this.#points.at(-1)?.time ?? 0 };
    const margin = this.#shape.hasBuckets ? this.#bucketSeconds / 2 : 0;
    return withWidth(first - margin, last + margin);
  }

  /** Returns the displayed values, of which uPlot knows the smallest and the largest one. They are null without values. */
  #valueRange(min: number | null, max: number | null): uPlot.Range.MinMax {
    const [low, high] = this.#values ? [this.#values.low / this.#unit, this.#values.high / this.#unit] : [min, max];
    return low === null || high === null ? [null, null] : uPlot.rangeNum(low, high, 0.1, true);
  }

  /** Returns a value of the axis, or one shortly outside of the plot if it is far outside: a canvas cannot draw such a line. */
  #within(value: number): number {
    if (!this.#values) return value;
    const [low, high] = [this.#values.low / this.#unit, this.#values.high / this.#unit];
    const margin = 2 * (high - low) || Math.abs(high);
    return Math.min(Math.max(value, low - margin), high + margin);
  }

  #label(value: number, step: number): string {
    const scaled = value * this.#unit;
    return Number.isFinite(scaled) ? tick(scaled, step * this.#unit) : '';
  }

  #gapsOf(plot: uPlot, line: number): uPlot.Series.Gaps {
    return (this.#gaps[line] ?? []).map(([from, to]) => [plot.valToPos(from, 'x', true), plot.valToPos(to, 'x', true)]);
  }

  #position(plot: uPlot, { time, mean }: Point, onCanvas = false): [number, number] {
    return [plot.valToPos(time, 'x', onCanvas), plot.valToPos(this.#within(mean / this.#unit), 'y', onCanvas)];
  }

  #pointed(plot: uPlot): Point | undefined {
    const { idx, left = 0, top = 0 } = plot.cursor;
    if (idx == null || this.#points.length === 0) return undefined;
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
    if (!pointed) return this.events.onPoint(null, 0, 0);
    const [x, y] = this.#position(plot, pointed);
    pointer.style.transform = `translate(${x}px, ${y}px)`;
    this.events.onPoint(pointed, x + plot.over.offsetLeft, y + plot.over.offsetTop);
  }

  #selected(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < MIN_DRAG) return;
    const [from, to] = [left, left + width].map((at) => plot.posToVal(at, 'x')) as [number, number];
    const step = to - from < MIN_SECONDS ? 1 : 1e3; // milliseconds
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.events.onRange(isoTime(Math.floor((from * 1e3) / step) * step), isoTime(Math.ceil((to * 1e3) / step) * step));
  }

  #mark(plot: uPlot, accent: string): void {
    const marked = this.#points.find(({ result }) => result?.id === this.#markedId);
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

const transparent = (rgb: string): string => rgb.replace('rgb(', 'rgba(').replace(')', ', 0.15)');
