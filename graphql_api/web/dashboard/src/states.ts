// The number of samples in each state. The page polls these numbers every second while they change, and every 8 seconds
// otherwise. It does not poll while it is hidden.
//
// The page counts PENDING and FAILED samples together, as all samples that are neither rejected nor computed nor
// superseded. It counts FAILED samples separately when that number stops changing, and every 8 seconds. All numbers are of
// the samples with the labels of the filter. A large number takes the server long to count, so the page waits for several
// times as long before it counts again.
import { batch, effect, signal } from '@preact/signals';
import { newestFirst, sampleFilter, selectedState } from './filter.ts';
import delaysQuery from './operations/delays.graphql';
import failedQuery from './operations/failed.graphql';
import statesQuery from './operations/states.graphql';
import { arrived, fault, removed } from './results.ts';
import { readSamples } from './sample_pages.ts';
import { runQuery, ServerError } from './server.ts';
import { refusal, session } from './session.ts';
import type { ListedSample, SampleFilter } from './types.ts';

const BUSY_MILLISECONDS = 1_000;
const QUIET_MILLISECONDS = 8_000;
const PAUSE_FACTOR = 4; // the pause is at least this many times as long as the last counting
const MAX_PROBLEMS = 20;

export type Counts = Record<'pending' | 'computed' | 'failed' | 'rejected' | 'superseded', number>;

interface Counted {
  totalCount: number;
}

interface Delays {
  results: { edges: { node: { id: string; firstComputedAt: string; sample: { submittedAt: string } | null } }[] };
}

export const counts = signal<Counts | null>(null);
/** The times from submission to result in milliseconds, for the newest results, the newest first. */
export const delays = signal<readonly number[]>([]);
/** The newest samples that are FAILED or REJECTED, of those that the page has searched. */
export const problems = signal<readonly ListedSample[]>([]);
/** The number of removals before the last counting. If a sample replaces a removed one, no other number changes. */
export const countedRemovals = signal(0);

let timer: ReturnType<typeof setTimeout> | undefined;
let due = Infinity;
let isRefreshing = false;
let unfinished = 0; // the number of PENDING and FAILED samples
let failedCountedAt = -Infinity;

/** Polls while the page is open. */
export function start(): void {
  effect(() => {
    void arrived.value;
    void removed.value;
    if (session.value) refreshSoon();
    else clear();
  });
  effect(() => {
    void sampleFilter.value;
    clear();
    if (session.peek()) schedule(0);
  });
  document.addEventListener('visibilitychange', refreshSoon);
}

/** Polls soon. Call it after a change of a state. */
export function refreshSoon(): void {
  if (!isRefreshing) schedule(counts.peek() ? BUSY_MILLISECONDS : 0);
}

function clear(): void {
  clearTimeout(timer);
  due = Infinity;
  unfinished = 0;
  failedCountedAt = -Infinity;
  batch(() => {
    counts.value = null;
    delays.value = [];
    problems.value = [];
  });
}

function schedule(milliseconds: number): void {
  const at = performance.now() + milliseconds;
  if (at >= due) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(refresh, milliseconds);
}

async function refresh(): Promise<void> {
  due = Infinity;
  if (isRefreshing || document.hidden || !session.peek()) return;
  isRefreshing = true;
  const before = counts.peek();
  const filter = sampleFilter.peek();
  const removals = removed.peek();
  const start = performance.now();
  try {
    const now = await count(before, filter);
    const isChanged = (state: keyof Counts) => removals !== countedRemovals.peek() || before?.[state] !== now[state];
    const newDelays = isChanged('computed') ? await readDelays(filter) : delays.peek();
    const newProblems = isChanged('failed') || isChanged('rejected') ? await readProblems(now, filter) : problems.peek();
    if (filter === sampleFilter.peek()) {
      batch(() => {
        [delays.value, problems.value, counts.value, countedRemovals.value] = [newDelays, newProblems, now, removals];
      });
    }
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.isAboutSession) refusal.value = error.refusal;
    else if (error.isFinal && filter === sampleFilter.peek()) fault.value = error.refusal;
  } finally {
    isRefreshing = false;
  }
  if (filter !== sampleFilter.peek()) return schedule(0);
  const pause = (performance.now() - start) * PAUSE_FACTOR;
  schedule(Math.max(counts.value?.pending ? BUSY_MILLISECONDS : QUIET_MILLISECONDS, pause));
}

async function count(before: Counts | null, { labels }: SampleFilter): Promise<Counts> {
  const { all, rejected, computed, superseded } = await runQuery<
    Record<'all' | 'rejected' | 'computed' | 'superseded', Counted>
  >(statesQuery, { labels });
  const settled = rejected.totalCount + computed.totalCount + superseded.totalCount;
  const others = Math.max(0, all.totalCount - settled);
  let failed = Math.min(before?.failed ?? 0, others);
  const isDue = others === unfinished || before === null || performance.now() > failedCountedAt + QUIET_MILLISECONDS;
  if (others !== failed && isDue) {
    failedCountedAt = performance.now();
    failed = Math.min((await runQuery<{ failed: Counted }>(failedQuery, { labels })).failed.totalCount, others);
  }
  unfinished = others;
  return {
    pending: others - failed,
    computed: computed.totalCount,
    failed,
    rejected: rejected.totalCount,
    superseded: superseded.totalCount,
  };
}

async function readDelays({ labels }: SampleFilter): Promise<number[]> {
  const variables = { filter: { labels }, orderBy: newestFirst.peek() };
  const { results } = await runQuery<Delays>(delaysQuery, variables, { allowsMissing: true }); // the sample of a result may have been deleted
  return results.edges.flatMap(({ node: { firstComputedAt, sample } }) =>
    sample === null ? [] : [Date.parse(firstComputedAt) - Date.parse(sample.submittedAt)],
  );
}

async function readProblems(now: Counts, { labels }: SampleFilter): Promise<ListedSample[]> {
  const selected = selectedState.peek();
  const states = [...(now.failed ? (['FAILED'] as const) : []), ...(now.rejected ? (['REJECTED'] as const) : [])];
  const shown = states.filter((state) => selected === null || selected === state);
  const lists = await Promise.all(shown.map((state) => readSamples({ state, ...(labels && { labels }) }, MAX_PROBLEMS)));
  return lists
    .flatMap(({ found }) => found)
    .sort((one, other) => Date.parse(other.submittedAt) - Date.parse(one.submittedAt))
    .slice(0, MAX_PROBLEMS);
}
