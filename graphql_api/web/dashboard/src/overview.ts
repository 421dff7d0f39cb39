// The means over time of all matching results, for the plot. The page requests them if it has loaded a part of the results.
//
// The server reads all matching results for each response. The page therefore waits before it repeats the request: at
// least for `MIN_PAUSE_MILLISECONDS`, and several times as long as the last response took.
import { batch, computed, effect, signal, untracked } from '@preact/signals';
import { filter, showsResults } from './filter.ts';
import { knownLabels, labelName } from './labels.ts';
import extremesQuery from './operations/extremes.graphql';
import overTimeQuery from './operations/overtime.graphql';
import { isLoaded, results, total } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { typicalRange } from './time_range.ts';
import type { Bucket, ResultFilter } from './types.ts';

const MAX_BUCKETS = 800; // of all lines; more would be closer than pixels
const MIN_PAUSE_MILLISECONDS = 15_000;
const PAUSE_FACTOR = 5;
const LENGTHS = { MINUTE: 60, FIVE_MINUTES: 300, HOUR: 3_600, DAY: 86_400 } as const;
const NAMES = { MINUTE: 'minute', FIVE_MINUTES: 'five minutes', HOUR: 'hour', DAY: 'day' } as const;

type Length = keyof typeof LENGTHS;

export interface Overview {
  seconds: number; // the length of a bucket
  name: string; // its name for users
  labelName: string;
  buckets: readonly Bucket[];
}

type Extremes = Record<'earliest' | 'latest', { edges: { node: { timestamp: string } }[] }>;

/** Null if the page has loaded all results, or until the server has responded. */
export const overview = signal<Overview | null>(null);
/** Why the server did not return an overview, or null. */
export const overviewFault = signal<string | null>(null);
/** Whether the page has loaded a part of the matching results. */
export const isPart = computed(() => isLoaded.value && showsResults.value && total.value > results.value.length);

let timer: ReturnType<typeof setTimeout> | undefined;
let reading: AbortController | null = null;
let mayReadAt = 0;

/** Reads the overview while it is needed, and again after its results have changed. */
export function start(): void {
  effect(() => {
    void [filter.value, labelName.value];
    untracked(() => {
      reading?.abort();
      reading = null;
      mayReadAt = 0;
      clear();
    });
  });
  effect(() => {
    void [filter.value, labelName.value, total.value];
    if (isPart.value) untracked(schedule);
    else untracked(clear);
  });
  document.addEventListener('visibilitychange', () => isPart.peek() && schedule());
}

function clear(): void {
  batch(() => {
    overview.value = null;
    overviewFault.value = null;
  });
}

function schedule(): void {
  clearTimeout(timer);
  timer = setTimeout(() => void read(), Math.max(0, mayReadAt - performance.now()));
}

async function read(): Promise<void> {
  if (reading || document.hidden) return;
  const current = new AbortController();
  const [start, counted] = [performance.now(), total.peek()];
  let isTemporary = false;
  reading = current;
  try {
    const response = await request(filter.peek(), labelName.peek(), current.signal);
    if (current.signal.aborted || !isPart.peek()) return;
    batch(() => {
      overview.value = response;
      overviewFault.value = null;
    });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (current.signal.aborted) return;
    overviewFault.value = error.message;
    isTemporary = !error.isFinal;
  } finally {
    if (reading === current) reading = null;
  }
  mayReadAt = performance.now() + Math.max(MIN_PAUSE_MILLISECONDS, PAUSE_FACTOR * (performance.now() - start));
  if (isPart.peek() && (isTemporary || total.peek() !== counted)) schedule();
}

async function request(current: ResultFilter, label: string, signal: AbortSignal): Promise<Overview | null> {
  const { earliest, latest } = await runQuery<Extremes>(extremesQuery, { filter: current }, { signal });
  const [first, last] = [earliest, latest].map(({ edges }) => edges[0] && Date.parse(edges[0].node.timestamp) / 1e3);
  if (first === undefined || last === undefined) return null;
  const lines = 1 + (knownLabels.peek().find(({ name }) => name === label)?.values.length ?? 0);
  const length = shortest(last - first, lines);
  const buckets = await readBuckets(length, current, label, signal);
  if (length !== 'DAY') return { seconds: LENGTHS[length], name: NAMES[length], labelName: label, buckets };
  // Far outliers can make the range longer than that of the other results.
  const range = typicalRange(buckets.map(({ start }) => Date.parse(start) / 1e3), buckets.map((bucket) => bucket.results));
  const better = range && shortest(range.last - range.first + LENGTHS.DAY, lines);
  if (!range || !better || better === 'DAY') return { seconds: LENGTHS.DAY, name: NAMES.DAY, labelName: label, buckets };
  const bounds = {
    gte: iso(Math.max(range.first, first)),
    lt: iso(Math.min(range.last + LENGTHS.DAY, last + 1)),
  };
  const detailed = await readBuckets(better, { ...current, timestamp: bounds }, label, signal);
  const isOutside = ({ start }: Bucket) => Date.parse(start) / 1e3 < range.first || Date.parse(start) / 1e3 > range.last;
  const all = [...buckets.filter(isOutside), ...detailed];
  return { seconds: LENGTHS[better], name: NAMES[better], labelName: label, buckets: all };
}

async function readBuckets(bucket: Length, filter: ResultFilter, label: string, signal: AbortSignal): Promise<Bucket[]> {
  const variables = { bucket, filter, groupBy: label ? [label] : [] };
  const { resultsOverTime } = await runQuery<{ resultsOverTime: Bucket[] }>(overTimeQuery, variables, { signal });
  return resultsOverTime;
}

/** Returns the shortest length with which a range has few enough buckets. */
function shortest(seconds: number, lines: number): Length {
  const names = Object.keys(LENGTHS) as Length[];
  return names.find((name) => (seconds / LENGTHS[name]) * lines <= MAX_BUCKETS) ?? 'DAY';
}

const iso = (seconds: number): string => new Date(seconds * 1e3).toISOString();
