// The range of times or values that a plot displays. A few points that are far from all others would make the others a
// thin line.

const MAX_LEFT_OUT = 0.02; // of all results, at each end, but always one
const MIN_RESULTS = 4; // fewer are always displayed
const FAR = 10; // an outlier is this many times as far from the others as these are from each other
const MIN_SPAN_SECONDS = 3_600;

export interface TypicalRange {
  first: number;
  last: number;
  leftOut: number; // the number of results outside
}

/**
 * Returns the range without far outliers, of ascending times in seconds, each with a number of results. It also works for
 * ascending values, with a `minSpan` in their unit.
 */
export function typicalRange(
  times: readonly number[],
  weights: readonly number[],
  minSpan = MIN_SPAN_SECONDS,
): TypicalRange | null {
  const last = times.length - 1;
  if (last < 0) return null;
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const limit = total < MIN_RESULTS ? 0 : Math.max(1, total * MAX_LEFT_OUT);
  const time = (index: number) => times[index] as number;
  const weight = (index: number) => weights[index] as number;
  let [from, to] = [0, last];
  for (let sum = weight(from); sum <= limit && from < to; sum += weight(from)) from += 1;
  for (let sum = weight(to); sum <= limit && to > from; sum += weight(to)) to -= 1;
  const isNear = (distance: number) => distance <= FAR * Math.max(time(to) - time(from), minSpan);
  for (let grows = true; grows; ) {
    grows = false;
    if (from > 0 && isNear(time(from) - time(from - 1))) [from, grows] = [from - 1, true];
    if (to < last && isNear(time(to + 1) - time(to))) [to, grows] = [to + 1, true];
  }
  const inside = weights.slice(from, to + 1).reduce((sum, each) => sum + each, 0);
  return { first: time(from), last: time(to), leftOut: total - inside };
}
