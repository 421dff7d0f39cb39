// The names of labels and their values, of all computed results and of the displayed ones.
import { computed, effect, signal } from '@preact/signals';
import { labelsOf, bounds } from './filter.ts';
import labelsQuery from './operations/labels.graphql';
import { results } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { session } from './session.ts';

const RETRY_MILLISECONDS = 8_000;
const MAX_NAMES = 8; // of which the page requests the values
export const UNIT = 'unit'; // the name of the label that has the unit of the values

/** The name of the label that the user has selected for the lines of the plot, an empty text for no label, or null for the default. */
export const selectedLabelName = signal<string | null>(null);

const stored = signal<Readonly<Record<string, readonly string[]>>>({});

/** The values by the names of the labels, both in alphabetical order. Contains the labels of the filter. */
export const knownLabels = computed(() => {
  const known = new Map(Object.entries(stored.value).map(([name, values]) => [name, new Set(values)]));
  for (const { name, value } of [...results.value.flatMap(({ labels }) => labels), ...labelsOf(bounds.value)]) {
    const values = known.get(name);
    if (values) values.add(value);
    else known.set(name, new Set([value]));
  }
  const { compare } = new Intl.Collator('en', { numeric: true });
  return [...known]
    .sort(([one], [other]) => compare(one, other))
    .map(([name, values]) => ({ name, values: [...values].sort(compare) }));
});

/** Whether the results have different units, as far as the page knows. */
export const hasUnits = computed(() => {
  const isFiltered = labelsOf(bounds.value).some(({ name }) => name === UNIT);
  return !isFiltered && knownLabels.value.some(({ name, values }) => name === UNIT && values.length > 1);
});

/**
 * The name of the label whose values are the lines of the plot, or an empty text. By default, a line does not connect
 * results with different units.
 */
export const labelName = computed(() => selectedLabelName.value ?? (hasUnits.value ? UNIT : ''));

/** Reads the labels for each session. */
export function start(): void {
  effect(() => {
    stored.value = {};
    if (session.value) void read();
  });
}

async function read(): Promise<void> {
  const current = session.peek();
  try {
    const { labelNames } = await runQuery<{ labelNames: string[] }>(labelsQuery);
    if (labelNames.length === 0) return;
    const names = labelNames.slice(0, MAX_NAMES); // a name of a label is also a valid name in GraphQL
    const values = await runQuery<Record<string, string[]>>(
      `query LabelValues { ${names.map((name) => `_${name}: labelValues(name: "${name}")`).join(' ')} }`,
    );
    if (session.peek() !== current) return;
    stored.value = Object.fromEntries(names.map((name) => [name, values[`_${name}`] ?? []]));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error; // the labels of the displayed results remain
    if (!error.isFinal) setTimeout(() => session.peek() === current && void read(), RETRY_MILLISECONDS);
  }
}
