// What is looked for, as the form has it. It is kept in the page's address, so that a view can be shared, in
// GraphQL's own names: `?mean.gte=1&timestamp.lt=2026-01-01T00:00Z`.
import { computed, signal } from '@preact/signals';
import type { Range, ResultFilter } from './types.ts';

export interface Field {
  name: keyof ResultFilter;
  label: string;
  kind: 'time' | 'number';
  upper: 'lt' | 'lte';
}

export const FIELDS: readonly Field[] = [
  { name: 'timestamp', label: 'Time stamp (UTC)', kind: 'time', upper: 'lt' },
  { name: 'mean', label: 'Mean', kind: 'number', upper: 'lte' },
  { name: 'standardDeviation', label: 'Standard deviation', kind: 'number', upper: 'lte' },
  { name: 'count', label: 'Values', kind: 'number', upper: 'lte' },
];

export type Bounds = Readonly<Record<string, string>>;

const names = FIELDS.flatMap(({ name, upper }) => [`${name}.gte`, `${name}.${upper}`]);

export const bounds = signal<Bounds>(fromAddress());
export const filter = computed(() => toFilter(bounds.value));
export const isFiltered = computed(() => Object.keys(bounds.value).length > 0);

export function setBounds(next: Bounds): void {
  bounds.value = Object.fromEntries(Object.entries(next).filter(([, value]) => value !== ''));
  const search = new URLSearchParams(bounds.value).toString();
  history.replaceState(null, '', search ? `?${search}` : location.pathname);
}

function toFilter(given: Bounds): ResultFilter {
  const made: ResultFilter = {};
  for (const { name, kind, upper } of FIELDS) {
    const range: Range = {};
    for (const side of ['gte', upper] as const) {
      const value = given[`${name}.${side}`];
      if (value !== undefined) range[side] = kind === 'time' ? new Date(value).toISOString() : Number(value);
    }
    if (Object.keys(range).length) made[name] = range;
  }
  return made;
}

function fromAddress(): Bounds {
  const given = new URLSearchParams(location.search);
  const known = names.flatMap((name) => {
    const value = given.get(name);
    return value && isValid(name, value) ? [[name, inUTC(name, value)] as const] : [];
  });
  return Object.fromEntries(known);
}

/** A time as the form has it, whatever its zone is. */
function inUTC(name: string, value: string): string {
  return name.startsWith('timestamp.') ? new Date(value).toISOString().replace('.000', '') : value;
}

function isValid(name: string, value: string): boolean {
  if (name.startsWith('timestamp.')) return !Number.isNaN(Date.parse(value));
  return Number.isFinite(Number(value)) && (!name.startsWith('count.') || Number.isInteger(Number(value)));
}
