// The ticks and the range of the plot's axes.
import type uPlot from 'uplot';

/** Returns the displayed range of times: one minute if it is a single time. */
export function withWidth(first: number, last: number): [number, number] {
  return first === last ? [first - 30, last + 30] : [first, last];
}

/** Returns the width of the value axis. The longest label and half of the first date of the time axis must fit. */
export function axisSize(plot: uPlot, labels: string[] | null): number {
  const longest = Math.max(0, ...(labels ?? []).map((label) => plot.ctx.measureText(label).width));
  return Math.max(Math.ceil(longest / devicePixelRatio) + 18, 42);
}

/** Returns times of day in UTC, as precise as the ticks require, with the date where it changes. */
export function timeLabels(_: uPlot, times: number[], __: number, ___: number, step: number): string[] {
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
