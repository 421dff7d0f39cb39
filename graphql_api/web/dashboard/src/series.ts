// The lines of the plot: one for all results, or one for each value of the selected label.
import { computed, signal } from '@preact/signals';
import { results } from './results.ts';
import type { Result } from './types.ts';

export const MAX_VALUES = 50;

const COLORS = 8; // `--series-1` to `--series-8`; further lines use them again

export interface Line {
  color: string; // the name of a CSS property
  results: readonly Result[];
}

export interface Series extends Line {
  value: string; // empty for results without the label
}

/** The name of the label whose values are the series, or an empty text. */
export const labelName = signal('');
/** The values whose lines are displayed. Empty if all are. */
export const chosen = signal<ReadonlySet<string>>(new Set());

/** The names of all labels of the displayed results, in alphabetical order, and the selected name. */
export const labelNames = computed(() => {
  const names = new Set(results.value.flatMap(({ labels }) => labels.map(({ name }) => name)));
  if (labelName.value) names.add(labelName.value);
  return [...names].sort();
});

/** The results by the value of the selected label. The values without results that are chosen are included. */
const byValue = computed(() => {
  const groups = new Map<string, Result[]>([...chosen.value].map((value) => [value, []]));
  if (labelName.value === '') return groups;
  for (const result of results.value) {
    const value = valueOf(result);
    const group = groups.get(value);
    if (group) group.push(result);
    else groups.set(value, [result]);
  }
  return groups;
});

/** The number of all values, of which the page displays at most `MAX_VALUES`. */
export const valueCount = computed(() => byValue.value.size);

/** The series with the most results, in the order of their values. */
export const series = computed<readonly Series[]>(() => {
  const { compare } = new Intl.Collator('en', { numeric: true });
  return [...byValue.value]
    .sort(([, one], [, other]) => other.length - one.length)
    .slice(0, MAX_VALUES)
    .sort(([one], [other]) => Number(one === '') - Number(other === '') || compare(one, other))
    .map(([value, group], index) => ({ value, color: value ? `--series-${(index % COLORS) + 1}` : '--edge', results: group }));
});

export const lines = computed<readonly Line[]>(() => {
  if (labelName.value === '') return [{ color: '--accent', results: results.value }];
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
  labelName.value = name;
  chosen.value = new Set();
}

export function valueOf({ labels }: Result): string {
  return labels.find(({ name }) => name === labelName.value)?.value ?? '';
}
