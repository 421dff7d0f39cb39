// The rows of the results table: the newest results, or the first ones in the order that the user has selected.
import { batch, computed, effect, signal, untracked } from '@preact/signals';
import { order } from './columns.ts';
import { filter, showsResults } from './filter.ts';
import { resultsQuery } from './queries.ts';
import { arrived, canLoadOlder, fault, loadOlder, removed, results, total } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { session } from './session.ts';
import type { Result, ResultPage } from './types.ts';

const STEP = 25;
const MAX_ORDERED = 500; // the largest page of the server
const REFRESH_MILLISECONDS = 1_000;
const RETRY_MILLISECONDS = 4_000;

const limit = signal(STEP);
const ordered = signal<{ results: readonly Result[]; isMore: boolean } | null>(null);

export const rows = computed(() => (order.value && ordered.value ? ordered.value.results : results.value.slice(0, limit.value)));
export const isMore = computed(() => {
  if (!order.value) return results.value.length > limit.value || canLoadOlder.value;
  return limit.value < MAX_ORDERED && (ordered.value?.isMore ?? false);
});

let timer: ReturnType<typeof setTimeout> | undefined;
let hasFailed = false; // whether the last attempt to read the rows failed, and the page tries again
let view = 0; // increases when the order or the filter changes

/** Reads ordered rows again when results arrive or leave, at most once a second. */
export function start(): void {
  effect(() => {
    void [order.value, filter.value, session.value];
    untracked(() => {
      view += 1;
      clearTimeout(timer);
      timer = undefined;
      hasFailed = false;
      batch(() => {
        limit.value = STEP;
        ordered.value = null;
      });
      if (order.value && session.value) void read();
    });
  });
  effect(() => {
    void [arrived.value, removed.value, total.value];
    if (order.peek()) timer ??= setTimeout(() => void read(), REFRESH_MILLISECONDS);
  });
}

export async function showMore(): Promise<void> {
  if (!order.value && results.value.length <= limit.value) await loadOlder();
  limit.value += STEP;
  if (order.value) await read();
}

async function read(): Promise<void> {
  timer = undefined;
  if (!order.peek() || !showsResults.peek()) return;
  const opened = view;
  const variables = { filter: filter.peek(), orderBy: order.peek(), first: limit.peek() };
  try {
    const { results: page } = await runQuery<{ results: ResultPage }>(resultsQuery, variables);
    if (opened !== view) return;
    if (hasFailed) fault.value = null;
    hasFailed = false;
    ordered.value = { results: page.edges.map(({ node }) => node), isMore: page.pageInfo.hasNextPage };
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (opened !== view) return;
    fault.value = error.refusal;
    hasFailed = !error.isFinal;
    if (hasFailed) timer ??= setTimeout(() => void read(), RETRY_MILLISECONDS);
  }
}
