// The units of the values in the plot. If the plot displays the means of all matching results, the page has loaded a part
// of them, and the server knows the units of the others.
import { computed } from '@preact/signals';
import { filter } from './filter.ts';
import { knownLabels, labelName, labelValue, UNIT } from './labels.ts';
import unitsQuery from './operations/units.graphql';
import { hasBuckets } from './points.ts';
import { refreshed } from './refreshed.ts';
import { lines, valueOf } from './series.ts';
import { runQuery } from './server.ts';
import { isOnRequest } from './summary.ts';
import type { Label } from './types.ts';

type Group = { labels: readonly Label[] };

const loaded = computed(() => new Set(lines.value.flatMap(({ results }) => results.map(unitOf))));
/** Whether a result that is not loaded can have a unit that no loaded result has. */
const canHaveOthers = computed(() => {
  const known = knownLabels.value.find(({ name }) => name === UNIT)?.values ?? [];
  return known.some((unit) => !loaded.value.has(unit));
});

const { value: groups, start } = refreshed({
  subject: () => [filter.value, labelName.value],
  isNeeded: () => hasBuckets.value && canHaveOthers.value && !isOnRequest.value,
  read,
});
export { start };

export const units = computed(() => {
  const values = new Set(lines.value.map(({ value }) => value));
  const others = groups.value?.filter((group) => values.has(valueOf(group))).map(unitOf) ?? [];
  return [...new Set([...loaded.value, ...others])].filter(Boolean).sort();
});

const unitOf = ({ labels }: Group): string => labelValue(labels, UNIT);

async function read(signal: AbortSignal): Promise<readonly Group[]> {
  const groupBy = [...new Set([labelName.peek(), UNIT])].filter(Boolean);
  const variables = { filter: filter.peek(), groupBy };
  const { resultsSummary } = await runQuery<{ resultsSummary: { groups: Group[] } }>(unitsQuery, variables, { signal });
  return resultsSummary.groups;
}
