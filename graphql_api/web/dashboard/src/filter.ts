// The filter in the form of the page. The address of the page also contains the filter, so that users can share a view.
// The address uses the names of the API: `?mean.gte=1&timestamp.lt=2026-01-01T00:00Z&label.site=zurich&state=FAILED`.
// `last=hour` is a range of time that ends now.
import { computed, signal } from '@preact/signals';
import { PRESETS, rangeOf } from './presets.ts';
import { inFilter } from './statistics.ts';
import type { Label, Range, Ranges, ResultFilter, SampleFilter, SampleState } from './types.ts';

export interface Field {
  name: keyof Ranges;
  label: string;
  kind: 'time' | 'number';
  upper: 'lt' | 'lte';
}

export const FIELDS: readonly Field[] = [
  { name: 'timestamp', label: 'Time stamp (UTC)', kind: 'time', upper: 'lt' },
  ...inFilter.map(({ name, label }) => ({ name, label, kind: 'number', upper: 'lte' }) as const),
];
export const STATES = ['PENDING', 'COMPUTED', 'FAILED', 'REJECTED', 'SUPERSEDED'] as const satisfies readonly SampleState[];
export const TIME_LIMITS = { min: '0001-01-01T00:00', max: '9999-12-31T23:59:59.999' } as const; // in UTC
export const MAX_LABELS = 4;
export const MAX_COUNT = 2 ** 31 - 1; // the largest `Int` of GraphQL

/** The texts of the form's fields by their names in the address: `mean.gte`, `label.site`, `state`, `last`. */
type Bounds = Readonly<Record<string, string>>;

const LABEL = /^label\.([a-z][a-z0-9_]{0,31})$/;
const TIMES = ['timestamp.gte', 'timestamp.lt'];
const names = FIELDS.flatMap(({ name, upper }) => [`${name}.gte`, `${name}.${upper}`]);

export const bounds = signal<Bounds>(fromAddress());
export const isFiltered = computed(() => Object.keys(bounds.value).length > 0);
/** Whether the filter contains a range. Only results have the fields of ranges. */
export const hasRange = computed(() => ['last', ...names].some((name) => name in bounds.value));
/** The selected preset, `all` without a range of time, or null if the range is another one. */
export const preset = computed(() => bounds.value.last ?? (TIMES.some((name) => name in bounds.value) ? null : 'all'));
/** The state of the displayed samples, or null for all states. */
export const selectedState = computed(() => (bounds.value.state as SampleState | undefined) ?? null);
/** Whether the page displays results. Otherwise it displays the samples in a state without listed results. */
export const showsResults = computed(() => selectedState.value === null || selectedState.value === 'COMPUTED');
export const filter = computed(() => toFilter(bounds.value));
/** Whether the server has rollups for the filter. Otherwise it reads each result. */
export const hasRollups = computed(() =>
  Object.keys(filter.value).every((name) => name === 'timestamp' || name === 'labels'),
);
const sampleFilterText = computed(() => JSON.stringify({ state: selectedState.value ?? undefined, labels: filter.value.labels }));
/** The part of the filter that also selects samples without a result. A change of a range does not change it. */
export const sampleFilter = computed<SampleFilter>(() => JSON.parse(sampleFilterText.value));
/** The newest results come first. With labels, the server can order by time stamp only. */
export const newestFirst = computed(
  () => ({ field: filter.value.labels ? 'TIMESTAMP' : 'COMPUTED_AT', direction: 'DESC' }) as const,
);

/** Follows the buttons Back and Forward of the browser. */
export function start(): void {
  addEventListener('popstate', () => {
    const next = fromAddress();
    if (toSearch(next) !== toSearch(bounds.peek())) bounds.value = next;
  });
}

/**
 * Changes the filter. Given times replace a preset. The button Back of the browser undoes the change. If the user types,
 * it undoes all changes of the same fields.
 */
export function setBounds(given: Bounds, isTyped = false): void {
  const next = toBounds(Object.entries(given).filter(([, value]) => value !== ''));
  if (toSearch(next) === toSearch(bounds.peek())) return;
  const hasSameFields = Object.keys(next).join() === Object.keys(bounds.peek()).join();
  bounds.value = next;
  history[isTyped && hasSameFields ? 'replaceState' : 'pushState'](null, '', toAddress(next));
}

/** Selects a range of time that ends now, or all times. */
export function selectPreset(name: string): void {
  const others = Object.entries(bounds.value).filter(([each]) => !TIMES.includes(each));
  setBounds({ ...Object.fromEntries(others), last: name === 'all' ? '' : name });
}

/** Displays only the samples in a state, or those in all states if the page displays this state only. */
export function toggleState(state: SampleState): void {
  setBounds({ ...bounds.value, state: selectedState.value === state ? '' : state });
}

const toSearch = (values: Bounds): string => {
  const search = new URLSearchParams(values).toString();
  return search && `?${search}`;
};

/** Returns the address of the page with another filter. The other parameters stay, such as the selected sample. */
function toAddress(values: Bounds): string {
  const others = [...new URLSearchParams(location.search)].filter(([name]) => !isBound(name));
  const search = new URLSearchParams([...Object.entries(values), ...others]).toString();
  return `${location.pathname}${search && `?${search}`}`;
}

const isBound = (name: string): boolean => LABEL.test(name) || ['last', 'state', ...names].includes(name);

/** Returns the labels that results must have. */
export function labelsOf(values: Bounds): Label[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const [, label] = LABEL.exec(name) ?? [];
    return label ? [{ name: label, value }] : [];
  });
}

function toBounds(given: readonly (readonly [string, string])[]): Bounds {
  const hasTimes = given.some(([name]) => TIMES.includes(name));
  return Object.fromEntries(given.filter(([name]) => !(hasTimes && name === 'last')));
}

function toFilter(values: Bounds): ResultFilter {
  const filter: ResultFilter = {};
  const labels = labelsOf(values);
  if (labels.length) filter.labels = labels;
  for (const { name, kind, upper } of FIELDS) {
    const range: Range = {};
    for (const side of ['gte', upper] as const) {
      const value = values[`${name}.${side}`];
      if (value !== undefined) range[side] = kind === 'time' ? new Date(value).toISOString() : Number(value);
    }
    if (Object.keys(range).length) filter[name] = range;
  }
  const range = rangeOf(values.last ?? '');
  if (range) filter.timestamp = range;
  return filter;
}

function fromAddress(): Bounds {
  const parameters = [...new URLSearchParams(location.search)];
  const valid = parameters.filter(([name, value]) => value && isValid(name, value));
  const labels = valid.filter(([name]) => LABEL.test(name)).slice(0, MAX_LABELS);
  const others = valid.filter(([name]) => !LABEL.test(name));
  return toBounds([...others.map(([name, value]) => [name, toFieldText(name, value)] as const), ...labels]);
}

/** Converts a value in the address to the text of its form field. */
function toFieldText(name: string, value: string): string {
  if (name.startsWith('timestamp.')) return new Date(timeOf(value)).toISOString().replace('.000', '');
  return names.includes(name) ? String(Number(value)) : value;
}

/** Sets a bound to a time from the clipboard. Returns false if the text is not a time. */
export function pasteTime(name: string, text: string): boolean {
  const time = text.trim();
  if (!isValid(name, time)) return false;
  setBounds({ ...bounds.peek(), [name]: toFieldText(name, time) });
  return true;
}

/** Returns a time in milliseconds, or NaN. A time without an offset is in UTC, so that a link shows the same to all users. */
function timeOf(text: string): number {
  if (!/^\d{4}([-/]|$)/.test(text)) return NaN; // a browser reads a date into many other texts, such as `5`
  const hasOffset = /([+-]\d\d:?\d\d|Z|UTC|GMT|[ECMP][SD]T)$/i.test(text); // a text with `PM` has none
  const isIsoDate = /^\d{4}(-\d\d){0,2}$/.test(text); // is in UTC; `Date` reads `2026-1-5` in the user's time zone
  return Date.parse(hasOffset || isIsoDate ? text : `${text}Z`);
}

function isValid(name: string, value: string): boolean {
  if (LABEL.test(name)) return true;
  if (name === 'last') return PRESETS.some((preset) => preset.name === value);
  if (name === 'state') return STATES.some((state) => state === value);
  if (!names.includes(name)) return false;
  if (name.startsWith('timestamp.')) return timeOf(value) >= timeOf(TIME_LIMITS.min) && timeOf(value) <= timeOf(TIME_LIMITS.max);
  const number = Number(value);
  return Number.isFinite(number) && (!name.startsWith('count.') || (Number.isInteger(number) && number >= 0 && number <= MAX_COUNT));
}
