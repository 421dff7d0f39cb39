// The names of labels and their values: of all results when the page was opened, and of the results that it has displayed.
import { computed, effect, signal } from '@preact/signals';
import { labelsOf, bounds } from './filter.ts';
import labelsQuery from './operations/labels.graphql';
import { results } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { session } from './session.ts';
import type { Label } from './types.ts';

const RETRY_MILLISECONDS = 8_000;
const NAMES_PER_REQUEST = 40; // the server refuses a request for the values of more than 50 names
const MAX_VALUES = 1_000; // of a name; the values of results that arrive while the page is open could become millions
export const UNIT = 'unit'; // the name of the label that has the unit of the values

/** The name of the label that the user has selected for the lines of the plot, an empty text for no label, or null for the default. */
export const selectedLabelName = signal<string | null>(null);

type Values = ReadonlyMap<string, ReadonlySet<string>>; // by the names of the labels

const found = signal<Values>(new Map());

/** The values by the names of the labels, both in alphabetical order. Contains the labels of the filter. */
export const knownLabels = computed(() => {
  const { compare } = new Intl.Collator('en', { numeric: true });
  return [...withLabels(found.value, labelsOf(bounds.value))]
    .sort(([one], [other]) => compare(one, other))
    .map(([name, values]) => ({ name, values: [...values].sort(compare) }));
});

/** Whether the matching results have different units. `units.ts` finds it out. */
export const hasUnits = signal(false);

/**
 * The name of the label whose values are the lines of the plot, or an empty text. By default, a line does not connect
 * results with different units.
 */
export const labelName = computed(() => selectedLabelName.value ?? (hasUnits.value ? UNIT : ''));

/** Returns the value of a label, or an empty text. */
export const labelValue = (labels: readonly Label[], name: string): string => labels.find((label) => label.name === name)?.value ?? '';

/** Reads the labels for each session, and adds those of the displayed results. */
export function start(): void {
  effect(() => {
    found.value = new Map();
    if (session.value) void read();
  });
  effect(() => {
    const labels = results.value.flatMap((result) => result.labels);
    found.value = withLabels(found.peek(), labels.filter(({ name }) => (found.peek().get(name)?.size ?? 0) < MAX_VALUES));
  });
}

/** Returns the same object if it contains the labels. */
function withLabels(values: Values, labels: readonly Label[]): Values {
  const others = labels.filter(({ name, value }) => !values.get(name)?.has(value));
  if (others.length === 0) return values;
  const all = new Map([...values].map(([name, each]) => [name, new Set(each)]));
  for (const { name, value } of others) all.set(name, (all.get(name) ?? new Set<string>()).add(value));
  return all;
}

async function read(): Promise<void> {
  const current = session.peek();
  try {
    const { labelNames } = await runQuery<{ labelNames: string[] }>(labelsQuery);
    for (let start = 0; start < labelNames.length; start += NAMES_PER_REQUEST) {
      const names = labelNames.slice(start, start + NAMES_PER_REQUEST); // the name of a label is also valid in GraphQL
      const values = await runQuery<Record<string, string[]>>(
        `query LabelValues { ${names.map((name) => `_${name}: labelValues(name: "${name}")`).join(' ')} }`,
      );
      if (session.peek() !== current) return;
      const labels = names.flatMap((name) => (values[`_${name}`] ?? []).map((value) => ({ name, value })));
      found.value = withLabels(found.peek(), labels);
    }
  } catch (error) {
    if (!(error instanceof ServerError)) throw error; // the labels of the displayed results remain
    if (!error.isFinal) setTimeout(() => session.peek() === current && void read(), RETRY_MILLISECONDS);
  }
}
