// The points of the plot: results, and the buckets of the overview, in the order of their times.
import { computed, signal } from '@preact/signals';
import { overview, type OverviewBucket } from './overview.ts';
import type { Line } from './series.ts';
import { typicalRange } from './typical_range.ts';
import type { Result } from './types.ts';

export type Axis = 'timestamp' | 'computedAt';

/** The times at which the plot displays the results. */
export const axis = signal<Axis>('timestamp');
/** Whether the plot displays the overview. */
export const hasBuckets = computed(() => axis.value === 'timestamp' && overview.value !== null);

const GAP_STEPS = 4; // a step that is longer than this number of usual steps breaks a line

export interface Point {
  time: number; // in seconds; the middle of a bucket
  line: number;
  mean: number;
  deviation: number;
  weight: number; // the number of results
  result: Result | null; // null for a bucket
  bucket: OverviewBucket | null;
}

/** Returns the points in the order of their times. */
export function pointsOf(lines: readonly Line[], axis: Axis): Point[] {
  const points = lines.flatMap(({ results, buckets }, line) => [
    ...results.map((result): Point => {
      const { mean, standardDeviation: deviation } = result;
      return { time: Date.parse(result[axis]) / 1e3, line, mean, deviation, weight: 1, result, bucket: null };
    }),
    ...buckets.flatMap((bucket): Point[] => {
      const { start, seconds, mean, standardDeviation: deviation, results: weight } = bucket;
      if (mean === null || deviation === null) return [];
      const time = Date.parse(start) / 1e3 + seconds / 2;
      return [{ time, line, mean, deviation, weight, result: null, bucket }];
    }),
  ]);
  return points.sort((one, other) => one.time - other.time);
}

/**
 * Returns the steps that break a line with points at these ascending times. Of all steps, 75 % are at most the usual one.
 * Points at the same time have no step between them: sensors often measure at the same time.
 */
export function gaps(all: readonly number[]): [number, number][] {
  const times = [...new Set(all)];
  const steps = times.slice(1).map((time, index): [number, number] => [times[index] as number, time]);
  const lengths = steps.map(([from, to]) => to - from).sort((one, other) => one - other);
  const usual = lengths[Math.floor((lengths.length - 1) * 0.75)] ?? 0;
  return steps.filter(([from, to]) => to - from > GAP_STEPS * usual);
}

/** The values that the plot displays if some means are far from the others. */
export interface ValueRange {
  low: number;
  high: number;
  leftOut: number; // the number of means outside
}

/**
 * Returns the range of the means without far outliers, with the bands of these means, or null if no mean is far from the
 * others. A band can exceed the largest double. No value does, so the range ends there: an infinite axis displays nothing.
 */
export function typicalValues(points: readonly Point[], hasBands: boolean): ValueRange | null {
  const means = points.map(({ mean }) => mean).sort((one, other) => one - other);
  const middle = Math.abs(means[Math.floor(means.length / 2)] ?? 0);
  const range = middle > 0 ? typicalRange(means, means.map(() => 1), middle) : null;
  if (!range?.leftOut) return null;
  let [low, high] = [range.first, range.last];
  for (const { mean, deviation } of points) {
    if (!hasBands || mean < range.first || mean > range.last) continue;
    low = Math.min(low, Math.max(mean - deviation, -Number.MAX_VALUE));
    high = Math.max(high, Math.min(mean + deviation, Number.MAX_VALUE));
  }
  return { low, high, leftOut: range.leftOut };
}

/**
 * Returns the unit of the axis. uPlot has no ticks above 1e32, and the difference of two doubles can overflow. Without
 * bands, deviations are not drawn: a large one must not make the means too small for the axis.
 */
export function unit(points: readonly Point[], hasBands: boolean): number {
  const sizeOf = ({ mean, deviation }: Point) => Math.max(Math.abs(mean), hasBands ? deviation : 0);
  const largest = points.reduce((size, point) => Math.max(size, sizeOf(point)), 0);
  if (largest === 0 || (largest > 1e-15 && largest < 1e15)) return 1;
  return 10 ** Math.max(-300, Math.floor(Math.log10(largest)));
}
