// The units of the matching results. If the page has loaded a part of these results, the server knows the units of the
// others.
import { computed, effect } from '@preact/signals';
import { bounds, filter, labelsOf } from './filter.ts';
import { hasUnits, knownLabels, labelValue, selectedLabelName, UNIT } from './labels.ts';
import unitsQuery from './operations/units.graphql';
import { isPart } from './overview.ts';
import { hasBuckets } from './points.ts';
import { refreshed } from './refreshed.ts';
import { isLoaded, results } from './results.ts';
import { lines, valueOf } from './series.ts';
import { runQuery } from './server.ts';
import { isOnRequest } from './summary.ts';
import type { Label } from './types.ts';

type Group = { labels: readonly Label[] };

const ofLines = computed(() => unitsOf(lines.value.flatMap((line) => line.results)));
/** Whether a result that is not loaded can have a unit that no loaded result has. */
const canHaveOthers = computed(() => {
  const isFiltered = labelsOf(bounds.value).some(({ name }) => name === UNIT);
  const known = knownLabels.value.find(({ name }) => name === UNIT)?.values ?? [];
  return isPart.value && !isFiltered && !isOnRequest.value && known.some((unit) => !ofLines.value.has(unit));
});

const {
  value: groups,
  fault,
  start: startReading,
} = refreshed({
  subject: () => [filter.value, selectedLabelName.value],
  isNeeded: () => canHaveOthers.value,
  read,
});

/** The units of the displayed lines. Without time buckets, these have the loaded results only. */
export const units = computed(() => {
  const values = new Set(lines.value.map(({ value }) => value));
  const others = hasBuckets.value ? unitsOf(groups.value?.filter((group) => values.has(valueOf(group))) ?? []) : [];
  return [...new Set([...ofLines.value, ...others])].sort();
});

/** Whether it is known if the results have different units. Otherwise the plot keeps the lines of the last filter. */
const areKnown = computed(() => isLoaded.value && (!canHaveOthers.value || groups.value !== null || fault.value !== null));

export function start(): void {
  startReading();
  effect(() => {
    const found = unitsOf([...results.value, ...(groups.value ?? [])]);
    if (found.size > 1 || areKnown.value) hasUnits.value = found.size > 1;
  });
}

const unitsOf = (groups: readonly Group[]): Set<string> => new Set(groups.map(({ labels }) => labelValue(labels, UNIT)).filter(Boolean));

async function read(signal: AbortSignal): Promise<readonly Group[]> {
  const groupBy = [...new Set([selectedLabelName.peek() ?? '', UNIT])].filter(Boolean);
  const variables = { filter: filter.peek(), groupBy };
  const { resultsSummary } = await runQuery<{ resultsSummary: { groups: Group[] } }>(unitsQuery, variables, { signal });
  return resultsSummary.groups;
}
