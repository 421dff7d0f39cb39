// The statistics of all values of the matching results, in total and per line of the plot, with the latest result of each line.
import { computed, effect, signal } from '@preact/signals';
import { filter, hasRollups, showsResults } from './filter.ts';
import { hasUnits, knownLabels, labelName } from './labels.ts';
import summaryQuery from './operations/summary.graphql';
import { MAX_READ_RESULTS, refreshed } from './refreshed.ts';
import { archived, isLoaded, total } from './results.ts';
import { lines, valueOf } from './series.ts';
import { runQuery } from './server.ts';
import type { LatestResult, ResultFilter, Summary, SummaryStatistics } from './types.ts';

const MAX_GROUPS = 1_000; // the server refuses more

export interface Row {
  value: string | null; // of the label of the lines, or null for all results
  color: string | null;
  statistics: SummaryStatistics;
  latest: LatestResult | null;
}

interface Response {
  resultsSummary: Summary;
  latestResults?: LatestResult[];
}

/** The filter for which the user has requested a summary that the server may need long to compute. */
const requested = signal<ResultFilter | null>(null);

/** Whether the page requests the summary only if the user wants it, because the server must read many results. */
export const isOnRequest = computed(() => {
  return !hasRollups.value && total.value >= MAX_READ_RESULTS && requested.value !== filter.value;
});

const {
  value: response,
  fault: summaryFault,
  start: startReading,
} = refreshed({
  subject: () => [filter.value, labelName.value],
  isNeeded: () => isLoaded.value && showsResults.value && (total.value > 0 || hasRollups.value) && !isOnRequest.value,
  read,
});
export { summaryFault };

export function start(): void {
  startReading();
  effect(() => {
    archived.value = summary.value?.archivedResults ?? 0;
  });
}

export const summary = computed<Summary | null>(() => response.value?.resultsSummary ?? null);

/** The displayed lines, after all results. If these have different units, no statistic of all of them has a meaning. */
export const rows = computed<readonly Row[]>(() => {
  if (!response.value) return [];
  const { resultsSummary, latestResults = [] } = response.value;
  const perLine = lines.value.flatMap(({ value, color, results }): Row[] => {
    const statistics = resultsSummary.groups.find((group) => valueOf(group) === value);
    if (!statistics || labelName.value === '') return [];
    const latest = latestResults.filter((result) => valueOf(result) === value);
    return [{ value, color, statistics, latest: value === '' ? null : newest([...latest, ...results]) }];
  });
  if (hasUnits.value && perLine.length > 0) return perLine;
  return [{ value: null, color: null, statistics: resultsSummary, latest: null }, ...perLine];
});

/** Whether the label of the lines has more values than the server accepts for separate summaries. */
export const hasTooManyValues = computed(() => {
  return (knownLabels.value.find(({ name }) => name === labelName.value)?.values.length ?? 0) >= MAX_GROUPS;
});

/** Requests the summary although the server must read many results. */
export function request(): void {
  requested.value = filter.value;
}

function read(signal: AbortSignal): Promise<Response> {
  const label = labelName.peek();
  const isGrouped = label !== '' && !hasTooManyValues.peek();
  return runQuery<Response>(summaryQuery, { filter: filter.peek(), groupBy: isGrouped ? [label] : [], isGrouped }, { signal });
}

/** Returns the result with the latest time stamp. Results that arrived after the response are among the given ones. */
function newest(results: readonly LatestResult[]): LatestResult | null {
  const isLater = (one: LatestResult, other: LatestResult) => Date.parse(one.timestamp) > Date.parse(other.timestamp);
  return results.reduce<LatestResult | null>((latest, result) => (!latest || isLater(result, latest) ? result : latest), null);
}
