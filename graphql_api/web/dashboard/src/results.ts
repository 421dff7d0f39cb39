// The displayed results: the newest results that match the filter, in the order in which they were stored. With labels,
// the server can order by time stamp only, so these are the results with the latest time stamps.
//
// Thousands of results can arrive per second, so the page collects them and displays them a few times per second.
//
// The server counts all matching results. The page cannot: an arriving result may be one that was counted already,
// because it was stored while the page loaded, or because it was computed again.
import { batch, computed, effect, signal, untracked } from '@preact/signals';
import { filter, newestFirst } from './filter.ts';
import totalQuery from './operations/total.graphql';
import { resultsQuery } from './queries.ts';
import { runQuery, ServerError } from './server.ts';
import { refusal, session } from './session.ts';
import { streamResults, type ConnectionState } from './stream.ts';
import type { Removal, Result, ResultFilter, ResultPage } from './types.ts';

const MAX_RESULTS = 2_000;
const PAGE_SIZE = 300;
const DISPLAY_MILLISECONDS = 150;
const COUNT_MILLISECONDS = 1_000;
const COUNT_RETRY_MILLISECONDS = 8_000;
const EXPIRY_MILLISECONDS = 600_000; // results expire without an event
const MAX_REMOVALS = 10_000;

const counted = signal(0); // the last response of the server, which is older than the newest results
export const results = signal<readonly Result[]>([]); // the newest first
/** Whether results that match the filter are older than those that are displayed. */
export const hasOlder = signal(false);
/** Whether the page can load them. It displays at most `MAX_RESULTS`. */
export const canLoadOlder = computed(() => olderCursor.value !== null);
/** The number of all results that match the filter, including results that are not displayed. */
export const total = computed(() => Math.max(counted.value, results.value.length));
/**
 * The number of expired results that match the filter and that the server has in the hourly archive. `summary.ts` finds it
 * out. `total` does not contain them, because no list does.
 */
export const archived = signal(0);
export const isLoaded = signal(false);
/** The number of results that arrived since the page was opened, including replayed results. */
export const arrived = signal(0);
/** The number of these results that match the filter and arrived since it was set. */
export const arrivedInView = computed(() => arrived.value - arrivedBefore.value);
/** The number of results that were removed since the page was opened. */
export const removed = signal(0);
/** The ids of the results that arrived last. They are highlighted. */
export const fresh = signal<ReadonlySet<string>>(new Set());
export const connection = signal<ConnectionState>({ name: 'connecting' });
export const fault = signal<string | null>(null);

const olderCursor = signal<string | null>(null);
const arrivedBefore = signal(0); // the number of results that had arrived when the filter was set
let view: AbortController | null = null;
let oldest = NaN; // the time stamp of the last loaded result, even if this result was removed or computed again
let removals = new Map<string, number>(); // the latest removals: one can arrive before an earlier result of its sample
let countTimer: ReturnType<typeof setTimeout> | undefined;
let startedCounts = 0;
let finishedCount = 0; // the newest count that has finished; responses can arrive in another order

/** Starts a new stream whenever the filter or the session changes. */
export function start(): void {
  effect(() => {
    void [session.value, filter.value];
    untracked(restart);
  });
  setInterval(countSoon, EXPIRY_MILLISECONDS);
}

function restart(): void {
  view?.abort();
  view = null;
  if (session.peek()) open(filter.peek());
}

/** Loads the next page of older results. */
export async function loadOlder(): Promise<void> {
  const opened = view;
  fault.value = null;
  try {
    const page = await readPage(filter.peek(), olderCursor.peek());
    if (opened !== view) return;
    const known = new Set(results.peek().map(({ id }) => id)); // one can have arrived, with the last time stamp
    const added = page.edges.map(({ node }) => node).filter((result) => !known.has(result.id) && !isRemoved(result));
    batch(() => {
      continueAfter(page);
      display([...results.value, ...added]);
    });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (opened === view) fault.value = error.refusal;
  }
}

function display(all: readonly Result[]): void {
  results.value = all.slice(0, MAX_RESULTS);
  if (all.length <= MAX_RESULTS) return;
  oldest = timeOf(all[MAX_RESULTS - 1]);
  hasOlder.value = true;
  olderCursor.value = null; // results before the next page are not displayed
}

/** Removes the result of a sample that was deleted or superseded. */
export function remove(id: string): void {
  if (results.value.some((result) => result.id === id)) results.value = results.value.filter((result) => result.id !== id);
  removed.value += 1;
  countSoon();
}

/** Returns when a sample was deleted or superseded, in milliseconds, if this is one of the latest removals. */
export function removedAt(id: string): number | undefined {
  void removed.value;
  return removals.get(id);
}

function isRemoved({ id, computedAt }: Result): boolean {
  return (removals.get(id) ?? 0) >= Date.parse(computedAt);
}

function countSoon(milliseconds = COUNT_MILLISECONDS): void {
  countTimer ??= setTimeout(() => {
    countTimer = undefined;
    void count();
  }, milliseconds);
}

async function count(): Promise<void> {
  const opened = view;
  if (opened === null) return;
  const current = ++startedCounts;
  const displayed = isLoaded.peek() ? results.peek().length : 0;
  try {
    const { results: page } = await runQuery<{ results: Pick<ResultPage, 'totalCount'> }>(totalQuery, { filter: filter.peek() });
    if (opened !== view || current < finishedCount) return;
    finishedCount = current;
    if (page.totalCount < Math.min(displayed, results.peek().length)) restart(); // displayed results have expired
    else counted.value = page.totalCount;
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (!error.isFinal) countSoon(COUNT_RETRY_MILLISECONDS);
  }
}

function open(filter: ResultFilter): void {
  view = new AbortController();
  const { signal: stop } = view;
  removals = new Map();
  let waiting: Result[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const displayWaiting = () => {
    clearTimeout(timer);
    timer = undefined;
    if (stop.aborted) return;
    const known = new Map(results.value.map((result) => [result.id, result.computedAt]));
    const newest = new Map(waiting.map((result) => [result.id, result])); // a result can be computed twice meanwhile
    const added = [...newest.values()].filter((result) => known.get(result.id) !== result.computedAt);
    waiting = [];
    if (added.length === 0) return;
    const ids = new Set(added.map((result) => result.id));
    batch(() => {
      arrived.value += added.length;
      fresh.value = ids;
      display(merge(added.reverse(), results.value.filter(({ id }) => !ids.has(id))));
    });
    countSoon();
  };
  batch(() => {
    results.value = [];
    counted.value = 0;
    arrivedBefore.value = arrived.value;
    isLoaded.value = false;
    hasOlder.value = false;
    olderCursor.value = null;
    fresh.value = new Set();
    fault.value = null;
  });
  const handlers = {
    load: async () => {
      const page = await readPage(filter, null);
      if (stop.aborted) return;
      batch(() => {
        results.value = page.edges.map(({ node }) => node);
        counted.value = page.totalCount;
        continueAfter(page);
        isLoaded.value = true;
      });
    },
    onResult: (result: Result) => {
      if (isRemoved(result)) return;
      waiting.push(result);
      // A browser delays the timers of a hidden page by up to a minute.
      if (waiting.length === MAX_RESULTS) displayWaiting();
      else timer ??= setTimeout(displayWaiting, DISPLAY_MILLISECONDS);
    },
    onRemoval: ({ id, removedAt }: Removal) => {
      removals.set(id, Date.parse(removedAt));
      if (removals.size > MAX_REMOVALS) removals.delete(removals.keys().next().value as string);
      waiting = waiting.filter((result) => result.id !== id);
      remove(id);
    },
    onState: (state: ConnectionState) => {
      if (state.name === 'live' && connection.peek().name === 'waiting') fault.value = null;
      connection.value = state;
    },
    onRefused: (error: ServerError) => {
      if (error.isAboutSession) refusal.value = error.refusal;
      else fault.value = error.refusal;
    },
  };
  void streamResults(handlers, filter, stop);
}

/** Returns the newest results first. In the order of time stamps, leaves out results of the pages that are not loaded. */
function merge(added: readonly Result[], loaded: readonly Result[]): readonly Result[] {
  const merged = [...added, ...loaded];
  if (newestFirst.peek().field === 'COMPUTED_AT') return merged;
  merged.sort((one, other) => timeOf(other) - timeOf(one));
  return hasOlder.peek() ? merged.filter((result) => timeOf(result) >= oldest) : merged;
}

const timeOf = (result: Result | undefined): number => Date.parse(result?.timestamp ?? '');

async function readPage(filter: ResultFilter, after: string | null): Promise<ResultPage> {
  const variables = { filter, orderBy: newestFirst.peek(), first: PAGE_SIZE, after };
  const { results: page } = await runQuery<{ results: ResultPage }>(resultsQuery, variables);
  return page;
}

function continueAfter({ edges, pageInfo }: ResultPage): void {
  oldest = timeOf(edges.at(-1)?.node);
  olderCursor.value = pageInfo.hasNextPage ? pageInfo.endCursor : null;
  hasOlder.value = pageInfo.hasNextPage;
}
