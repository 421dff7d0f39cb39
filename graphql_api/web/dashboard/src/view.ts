// What the page displays besides the filter: the lines and the time axis of the plot, the order of the table and the
// selected sample. The address of the page also contains it, so that users can share a view. It uses the names of
// `GET /results` for the order: `?lines=sensor&line=t1&line=t2&axis=computed_at&order_by=mean&direction=asc&sample=…`.
import { batch, effect } from '@preact/signals';
import { ORDERS, selectedOrder } from './columns.ts';
import { selectedLabelName } from './labels.ts';
import { axis } from './points.ts';
import { selectedId } from './selection.ts';
import { chosen } from './series.ts';

const NAMES = ['lines', 'line', 'axis', 'order_by', 'direction', 'sample'];
const LINES = /^([a-z][a-z0-9_]{0,31})?$/; // empty for one line of all results
const PAUSE_MILLISECONDS = 250; // browsers refuse changes of the address that are more frequent, as while a key is held

/** Reads the view from the address, also after the buttons Back and Forward, and writes its changes into the address. */
export function start(): void {
  read();
  addEventListener('popstate', read);
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const view = parameters();
    clearTimeout(timer);
    timer = setTimeout(() => write(view), PAUSE_MILLISECONDS);
  });
}

function read(): void {
  const search = new URLSearchParams(location.search);
  const lines = search.get('lines');
  const field = search.get('order_by')?.toUpperCase() ?? '';
  const direction = search.get('direction') === 'asc' ? 'ASC' : 'DESC';
  batch(() => {
    selectedLabelName.value = lines !== null && LINES.test(lines) ? lines : null;
    chosen.value = new Set(search.getAll('line'));
    axis.value = search.get('axis') === 'computed_at' ? 'computedAt' : 'timestamp';
    selectedOrder.value = ORDERS.includes(field) ? { field, direction } : null;
    selectedId.value = search.get('sample') || null;
  });
}

function parameters(): [string, string][] {
  const [name, order, id] = [selectedLabelName.value, selectedOrder.value, selectedId.value];
  return [
    ...(name === null ? [] : [['lines', name] as [string, string]]),
    ...[...chosen.value].map((value): [string, string] => ['line', value]),
    ...(axis.value === 'timestamp' ? [] : [['axis', 'computed_at'] as [string, string]]),
    ...(order === null ? [] : Object.entries({ order_by: order.field.toLowerCase(), direction: order.direction.toLowerCase() })),
    ...(id === null ? [] : [['sample', id] as [string, string]]),
  ];
}

function write(view: readonly [string, string][]): void {
  const others = [...new URLSearchParams(location.search)].filter(([name]) => !NAMES.includes(name));
  const before = new URLSearchParams(location.search).toString();
  const search = new URLSearchParams([...others, ...view]).toString();
  if (search !== before) history.replaceState(null, '', `${location.pathname}${search && `?${search}`}${location.hash}`);
}
