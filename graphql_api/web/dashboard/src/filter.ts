// The filter in the form of the page. The address of the page also contains the filter, so that users can share a view.
// The address uses the names of the API: `?mean.gte=1&timestamp.lt=2026-01-01T00:00Z`.
import { computed, signal } from '@preact/signals';
import { inFilter } from './statistics.ts';
import type { Range, ResultFilter } from './types.ts';

export interface Field {
  name: keyof ResultFilter;
  label: string;
  kind: 'time' | 'number';
  upper: 'lt' | 'lte';
}

export const FIELDS: readonly Field[] = [
  { name: 'timestamp', label: 'Time stamp (UTC)', kind: 'time', upper: 'lt' },
  ...inFilter.map(({ name, label }) => ({ name, label, kind: 'number', upper: 'lte' }) as const),
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

function toFilter(values: Bounds): ResultFilter {
  const filter: ResultFilter = {};
  for (const { name, kind, upper } of FIELDS) {
    const range: Range = {};
    for (const side of ['gte', upper] as const) {
      const value = values[`${name}.${side}`];
      if (value !== undefined) range[side] = kind === 'time' ? new Date(value).toISOString() : Number(value);
    }
    if (Object.keys(range).length) filter[name] = range;
  }
  return filter;
}

function fromAddress(): Bounds {
  const parameters = new URLSearchParams(location.search);
  const valid = names.flatMap((name) => {
    const value = parameters.get(name);
    return value && isValid(name, value) ? [[name, inUTC(name, value)] as const] : [];
  });
  return Object.fromEntries(valid);
}

/** Converts a time to the UTC text of a form field. */
function inUTC(name: string, value: string): string {
  return name.startsWith('timestamp.') ? new Date(value).toISOString().replace('.000', '') : value;
}

function isValid(name: string, value: string): boolean {
  if (name.startsWith('timestamp.')) return !Number.isNaN(Date.parse(value));
  return Number.isFinite(Number(value)) && (!name.startsWith('count.') || Number.isInteger(Number(value)));
}
