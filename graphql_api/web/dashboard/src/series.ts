// The lines of the plot: one for all results, or one for each value of the selected label.
import { computed, signal } from '@preact/signals';
import { labelName, labelValue, selectedLabelName } from './labels.ts';
import { overview, type OverviewBucket } from './overview.ts';
import { results } from './results.ts';
import type { Label, Result } from './types.ts';

export const MAX_VALUES = 50;

const COLORS = 8; // `--series-1` to `--series-8`; further lines use them again

export interface Line {
  color: string; // the name of a CSS property
  value: string; // of the selected label; empty for results without the label
  results: readonly Result[];
  buckets: readonly OverviewBucket[]; // empty if the page has loaded all results
  count: number; // of all results, as far as the page knows it
}

/** The values whose lines are displayed. Empty if all are. */
export const chosen = signal<ReadonlySet<string>>(new Set());

/** The lines by the value of the selected label. The values without results that are chosen are included. */
const byValue = computed(() => {
  const groups = new Map<string, { results: Result[]; buckets: OverviewBucket[]; count: number }>();
  const group = (value: string) => {
    const found = groups.get(value) ?? { results: [], buckets: [], count: 0 };
    groups.set(value, found);
    return found;
  };
  if (labelName.value === '') return groups;
  for (const value of chosen.value) group(value);
  for (const result of results.value) group(valueOf(result)).results.push(result);
  for (const bucket of bucketsByLabel.value) {
    const found = group(valueOf(bucket));
    found.buckets.push(bucket);
    found.count += bucket.results;
  }
  for (const found of groups.values()) found.count = Math.max(found.count, found.results.length);
  return groups;
});

/** The overview if it has a line per value of the selected label. */
const bucketsByLabel = computed(() => (overview.value?.labelName === labelName.value ? overview.value.buckets : []));

const { compare: compareTexts } = new Intl.Collator('en', { numeric: true });
const compare = (one: string, other: string) => Number(one === '') - Number(other === '') || compareTexts(one, other);

/** The chosen lines and those with the most results, in the order of their values. */
export const series = computed<readonly Line[]>(() => {
  const rank = (value: string) => Number(chosen.value.has(value));
  return [...byValue.value]
    .sort(([one, { count }], [other, found]) => rank(other) - rank(one) || found.count - count)
    .slice(0, MAX_VALUES)
    .sort(([one], [other]) => compare(one, other))
    .map(([value, found], index) => ({ value, color: value ? `--series-${(index % COLORS) + 1}` : '--edge', ...found }));
});

/** The values without a line, because the page displays at most `MAX_VALUES`. */
export const otherValues = computed<readonly string[]>(() => {
  const displayed = new Set(series.value.map(({ value }) => value));
  return [...byValue.value.keys()].filter((value) => !displayed.has(value)).sort(compare);
});

export const lines = computed<readonly Line[]>(() => {
  if (labelName.value === '') {
    const count = results.value.length;
    return [{ value: '', color: '--accent', results: results.value, buckets: bucketsByLabel.value, count }];
  }
  return chosen.value.size === 0 ? series.value : series.value.filter(({ value }) => chosen.value.has(value));
});

/** Displays the line of a value in addition to the chosen ones, or no longer. */
export function toggle(value: string): void {
  const next = new Set(chosen.value);
  if (!next.delete(value)) next.add(value);
  chosen.value = next;
}

/** Displays one line per value of a label, or one line for all results if the name is empty. */
export function select(name: string): void {
  selectedLabelName.value = name;
  chosen.value = new Set();
}

/** Returns the value of the label of the lines, or an empty text. */
export const valueOf = ({ labels }: { labels: readonly Label[] }): string => labelValue(labels, labelName.value);
