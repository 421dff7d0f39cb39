// The ticks and the range of the plot's axes.
import type uPlot from 'uplot';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30 * DAY; // about; the ticks start with whole months and years
const YEAR = 365 * DAY;

/** The steps between ticks in seconds. Those of uPlot end at 100 years. A longer range, such as from the year 1, had no ticks. */
export const TIME_STEPS = [
  ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 10, 15, 30],
  ...[1, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 4, 6, 8, 12].map((count) => count * HOUR),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15].map((count) => count * DAY),
  ...[1, 2, 3, 4, 6].map((count) => count * MONTH),
  ...[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000].map((count) => count * YEAR),
];

/** Returns the displayed range of times: one minute if it is a single time. */
export function withWidth(first: number, last: number): [number, number] {
  return first === last ? [first - 30, last + 30] : [first, last];
}

/**
 * Returns the width of the value axis with this font, in CSS pixels. The longest label and half of the first date of the
 * time axis must fit. The font of uPlot's canvas has another size than this one if the ratio of pixels has just changed.
 */
export function axisSize({ ctx }: uPlot, labels: string[] | null, font: string): number {
  ctx.save();
  ctx.font = font;
  const longest = Math.max(0, ...(labels ?? []).map((label) => ctx.measureText(label).width));
  ctx.restore();
  return Math.max(Math.ceil(longest) + 18, 42);
}

/**
 * Returns the ticks of a range of times: whole multiples of the step in UTC. Those of uPlot are irregular at a time at
 * which the clocks of the user's time zone change.
 */
export function timeTicks(_: uPlot, __: number, first: number, last: number, step: number): number[] {
  const months = step >= YEAR ? (12 * step) / YEAR : step / MONTH;
  const start = new Date(first * 1e3);
  const month = 12 * (start.getUTCFullYear() - 2000) + start.getUTCMonth();
  const [from, timeOf] =
    months >= 1
      ? [Math.floor(month / months), (count: number) => Date.UTC(2000, count * months) / 1e3]
      : [Math.floor(first / step), (count: number) => count * step];
  const ticks: number[] = [];
  for (let count = from; timeOf(count) <= last; count += 1) ticks.push(timeOf(count));
  return ticks.filter((time) => time >= first);
}

/** Returns times of day in UTC, as precise as the ticks require, with the date where it changes. */
export function timeLabels(_: uPlot, times: number[], __: number, ___: number, step: number): string[] {
  let day = '';
  return times.map((seconds) => {
    const [date = '', clock = ''] = new Date(seconds * 1e3).toISOString().split('T');
    const isNew = date !== day;
    day = date;
    if (step >= DAY) return date;
    const shown = step >= 60 ? clock.slice(0, 5) : step >= 1 ? clock.slice(0, 8) : clock.slice(0, 12);
    return isNew ? `${shown}\n${date}` : shown;
  });
}
