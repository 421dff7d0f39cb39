// The columns of the results table, and their order. The browser keeps which ones are displayed.
import { computed, signal } from '@preact/signals';
import { filter, newestFirst } from './filter.ts';
import { knownLabels } from './labels.ts';
import { inTable } from './statistics.ts';

type Statistic = (typeof inTable)[number];

export interface Column {
  name: 'timestamp' | 'labels' | 'id' | 'computedAt' | Statistic['name'];
  label: string;
  short: string;
  order: string | null; // the server's name of the order by this column, or null if it has none
  isOptional: boolean; // displayed only if the user selects it
  isWide: boolean; // unless the user has selected columns, displayed only if the window has room for it
}

export interface Order {
  field: string;
  direction: 'ASC' | 'DESC';
}

const STORAGE_NAME = 'dropzone:columns';
const room = matchMedia('(width >= 1280px)');

const COLUMNS: readonly Column[] = [
  { name: 'timestamp', label: 'Time stamp (UTC)', short: 'Time stamp (UTC)', order: 'TIMESTAMP', isOptional: false, isWide: false },
  ...inTable.map(({ name, label, short, table, isOrder }) => ({
    name,
    label,
    short,
    order: isOrder ? name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase() : null,
    isOptional: table === 'optional',
    isWide: table === 'wide',
  })),
  { name: 'labels', label: 'Labels', short: 'Labels', order: null, isOptional: false, isWide: true },
  { name: 'id', label: 'Sample', short: 'Sample', order: null, isOptional: true, isWide: true },
  { name: 'computedAt', label: 'Computed at (UTC)', short: 'Computed', order: 'COMPUTED_AT', isOptional: false, isWide: true },
];

/** The fields by which the server can order. */
export const ORDERS: readonly string[] = COLUMNS.flatMap(({ order }) => order ?? []);

const hasRoom = signal(room.matches);
room.addEventListener('change', ({ matches }) => (hasRoom.value = matches));

/** The names of the columns that the user has selected, or null for the default. */
export const selection = signal<readonly string[] | null>(stored());
/** The columns that the user can select. The time stamp is always displayed. */
export const selectable = computed(() =>
  COLUMNS.filter(({ name }) => name !== 'timestamp' && (name !== 'labels' || knownLabels.value.length > 0)),
);
export const columns = computed(() => [COLUMNS[0] as Column, ...selectable.value.filter(isDisplayed)]);
/** The order that the user has selected, or null for the newest results first. */
export const selectedOrder = signal<Order | null>(null);
/** The order of the table, or null for the newest results first. */
export const order = computed(() => (selectedOrder.value && isAvailable(selectedOrder.value.field) ? selectedOrder.value : null));
/** The order that the headings display. */
export const shownOrder = computed<Order>(() => order.value ?? newestFirst.value);

/** Whether the server can order by a field. With labels, it can order by time stamp only. */
export function isAvailable(field: string | null): field is string {
  return field !== null && (field === 'TIMESTAMP' || !filter.value.labels);
}

export function isDisplayed({ name, isOptional, isWide }: Column): boolean {
  return selection.value?.includes(name) ?? !(isOptional || (isWide && !hasRoom.value));
}

/** Displays a column or hides it. */
export function toggleColumn({ name }: Column): void {
  const names = selectable.value.filter(isDisplayed).map((each): string => each.name);
  selection.value = names.includes(name) ? names.filter((each) => each !== name) : [...names, name];
  localStorage.setItem(STORAGE_NAME, JSON.stringify(selection.value));
}

/** Orders by a field: the largest value first, on a second click the smallest, on a third one the newest result. */
export function toggleOrder(field: string): void {
  const { field: current, direction } = shownOrder.value;
  if (current !== field) selectedOrder.value = { field, direction: 'DESC' };
  else selectedOrder.value = direction === 'DESC' ? { field, direction: 'ASC' } : null;
}

function stored(): readonly string[] | null {
  try {
    const names: unknown = JSON.parse(localStorage.getItem(STORAGE_NAME) ?? 'null');
    return Array.isArray(names) ? names.map(String) : null;
  } catch {
    return null;
  }
}
