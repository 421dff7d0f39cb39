// The results on the screen: the newest of those that pass the filter, in the order in which they were stored.
//
// They may come by the thousand, so they are gathered and shown a few times a second.
import { batch, effect, signal, untracked } from '@preact/signals';
import { follow, type FeedState } from './feed.ts';
import { filter } from './filter.ts';
import { key, refusal } from './key.ts';
import resultsQuery from './operations/results.graphql';
import { ask, ServerError } from './server.ts';
import type { Result, ResultFilter, ResultPage } from './types.ts';

const MAX_RESULTS = 2_000;
const PAGE = 300;
const SHOW_MILLISECONDS = 150;

export const results = signal<readonly Result[]>([]); // the newest first
export const hasOlder = signal(false);
/** How many results pass the filter, those that are not shown included. */
export const total = signal(0);
export const isLoaded = signal(false);
/** How many came since the page was opened, those that were replayed after a disconnect included. */
export const arrived = signal(0);
/** The ids of those that came last, to be pointed out. */
export const fresh = signal<ReadonlySet<string>>(new Set());
export const connection = signal<FeedState>({ name: 'connecting' });
export const fault = signal<string | null>(null);

let older: string | null = null;
let view: AbortController | null = null;

/** Follows the filter and the key for as long as the page is open. */
export function start(): void {
  effect(() => {
    const [currentKey, currentFilter] = [key.value, filter.value];
    untracked(() => {
      view?.abort();
      view = null;
      if (currentKey) open(currentFilter);
    });
  });
}

/** Reads the next older results behind those that are shown. */
export async function loadOlder(): Promise<void> {
  const opened = view;
  try {
    const { edges } = await readPage(filter.peek(), older);
    if (opened !== view) return;
    results.value = [...results.value, ...edges.map(({ node }) => node)].slice(0, MAX_RESULTS);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    fault.value = error.message;
  }
  if (results.value.length === MAX_RESULTS) hasOlder.value = false;
}

function open(wanted: ResultFilter): void {
  view = new AbortController();
  const { signal: stop } = view;
  let waiting: Result[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    timer = undefined;
    if (stop.aborted) return;
    const known = new Map(results.value.map((result) => [result.id, result.computedAt]));
    const coming = waiting.filter((result) => known.get(result.id) !== result.computedAt);
    waiting = [];
    if (coming.length === 0) return;
    const ids = new Set(coming.map((result) => result.id));
    batch(() => {
      arrived.value += coming.length;
      total.value += coming.filter(({ id }) => !known.has(id)).length;
      fresh.value = ids;
      results.value = [...coming.reverse(), ...results.value.filter(({ id }) => !ids.has(id))].slice(0, MAX_RESULTS);
    });
  };
  batch(() => {
    results.value = [];
    total.value = 0;
    isLoaded.value = false;
    hasOlder.value = false;
    fresh.value = new Set();
    fault.value = null;
  });
  const reader = {
    load: async () => {
      const page = await readPage(wanted, null);
      if (stop.aborted) return;
      batch(() => {
        results.value = page.edges.map(({ node }) => node);
        total.value = page.totalCount;
        isLoaded.value = true;
      });
    },
    onResult: (result: Result) => {
      waiting.push(result);
      timer ??= setTimeout(show, SHOW_MILLISECONDS);
    },
    onState: (state: FeedState) => {
      connection.value = state;
    },
    onRefused: (error: ServerError) => {
      if (error.isAboutKey) refusal.value = error.refusal;
      else fault.value = error.message;
    },
  };
  void follow(reader, wanted, stop);
}

async function readPage(wanted: ResultFilter, after: string | null): Promise<ResultPage> {
  const { results: page } = await ask<{ results: ResultPage }>(resultsQuery, { filter: wanted, first: PAGE, after });
  older = page.pageInfo.endCursor;
  hasOlder.value = page.pageInfo.hasNextPage;
  return page;
}
