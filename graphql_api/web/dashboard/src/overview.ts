// The means over time of all matching results, for the plot. The page requests them if it has loaded a part of the results.
// It never loads expired results, of which the server keeps the statistics of hours.
import { computed } from '@preact/signals';
import { filter, hasRollups, showsResults } from './filter.ts';
import { isoTime } from './format.ts';
import { knownLabels, labelName } from './labels.ts';
import extremesQuery from './operations/extremes.graphql';
import overTimeQuery from './operations/overtime.graphql';
import { MAX_READ_RESULTS, refreshed } from './refreshed.ts';
import { archived, hasOlder, isLoaded, results, total } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { typicalRange } from './typical_range.ts';
import type { Bucket, ResultFilter } from './types.ts';

const MAX_BUCKETS = 10_000; // of all lines, so that the response has at most 2 MB; 50 sensors then have hours of eight days
const MAX_LINE_BUCKETS = 800; // more would be closer than pixels
const TOO_MANY_MEANS = 'the server cannot compute all means of this range; select a shorter range, or the value of a label in the filter';
const LENGTHS = { MINUTE: 60, FIVE_MINUTES: 300, HOUR: 3_600, DAY: 86_400 } as const;
const NAMES = { MINUTE: 'minute', FIVE_MINUTES: 'five minutes', HOUR: 'hour', DAY: 'day' } as const;

type Length = keyof typeof LENGTHS;

/** A bucket with its length in seconds, and the name of the length for users. */
export interface OverviewBucket extends Bucket {
  seconds: number;
  name: string;
}

interface Overview {
  seconds: number; // the length of the buckets; those of far outliers in time are longer
  name: string;
  isLong: boolean; // whether the buckets are longer than the plot needs, because the server has rollups of them
  labelName: string;
  buckets: readonly OverviewBucket[];
}

/** What an overview is of. */
interface Subject {
  filter: ResultFilter;
  labelName: string;
  lines: number;
  results: number;
  first: number; // the earliest time stamp in seconds, or if it is not known, the start of the selected range
  last: number;
  min: Length; // of the buckets that the server can compute from all results
  requested?: Length; // the length of the last requested buckets
}

type Extremes = Record<'earliest' | 'latest', { edges: { node: { timestamp: string } }[] }>;

/** Whether the page has loaded a part of the matching results. Results that are still arriving do not count as missing. */
export const isPart = computed(() => {
  const lacksOlder = hasOlder.value && total.value > results.value.length;
  return isLoaded.value && showsResults.value && (lacksOlder || archived.value > 0);
});

export const {
  value: overview,
  fault: overviewFault,
  start,
} = refreshed({ subject: () => [filter.value, labelName.value], isNeeded: () => isPart.value, read });

async function read(signal: AbortSignal): Promise<Overview | null> {
  const [current, label] = [filter.peek(), labelName.peek()];
  const [first, last] = archived.peek() > 0 ? selectedTimes(current) : await readExtremes(current, signal);
  if (first === undefined || last === undefined) return null;
  const lines = 1 + (knownLabels.peek().find(({ name }) => name === label)?.values.length ?? 0);
  const min: Length = archived.peek() > 0 ? 'HOUR' : 'MINUTE';
  const subject = { filter: current, labelName: label, lines, results: total.peek(), first, last, min };
  return readFrom(subject, total.peek() >= MAX_READ_RESULTS ? 'HOUR' : min, signal);
}

/** Returns the times of the first and the last result in seconds. */
async function readExtremes(filter: ResultFilter, signal: AbortSignal): Promise<(number | undefined)[]> {
  const { earliest, latest } = await runQuery<Extremes>(extremesQuery, { filter }, { signal });
  return [earliest, latest].map(({ edges }) => edges[0] && Date.parse(edges[0].node.timestamp) / 1e3);
}

/** Returns the times that the filter selects in seconds. No query returns the time of a single expired result. */
function selectedTimes({ timestamp }: ResultFilter): number[] {
  const seconds = (time: string | number) => Date.parse(String(time)) / 1e3;
  return [timestamp?.gte ? seconds(timestamp.gte) : -Infinity, timestamp?.lt ? seconds(timestamp.lt) - 1 : Infinity];
}

/** Requests buckets of at least the length `min`, and longer ones if the server refuses the shortest ones. */
async function readFrom(subject: Subject, min: Length, signal: AbortSignal): Promise<Overview> {
  try {
    return await request(subject, min, signal);
  } catch (error) {
    const { requested } = subject;
    // Without rollups, longer buckets read the same results, and are refused too.
    const helpsIfLonger = error instanceof ServerError && error.code === 'OPERATION_TOO_COMPLEX' && hasRollups.peek();
    if (!helpsIfLonger) throw error;
    if (requested === 'DAY') throw new ServerError(TOO_MANY_MEANS, error.code);
    return readFrom(subject, requested === 'HOUR' ? 'DAY' : 'HOUR', signal);
  }
}

async function request(subject: Subject, min: Length, signal: AbortSignal): Promise<Overview> {
  const { filter: current, labelName: label, first, last } = subject;
  const of = (length: Length, seconds: number, buckets: OverviewBucket[]): Overview => {
    const isLong = length !== shortest(subject, seconds, subject.min);
    return { seconds: LENGTHS[length], name: NAMES[length], isLong, labelName: label, buckets };
  };
  const length = shortest(subject, last - first, min);
  const buckets = await readBuckets(subject, length, current, signal);
  if (length !== 'DAY') return of(length, last - first, buckets);
  // Far outliers can make the range longer than that of the other results. Results of the next day can be a minute later.
  const days = buckets.map(({ start }) => Date.parse(start) / 1e3);
  const range = typicalRange(days, buckets.map(({ results }) => results), LENGTHS.DAY);
  if (!range) return of('DAY', last - first, buckets);
  // The first and the last result are known more exactly than their days.
  const [start, end] = [Math.max(range.first, first), Math.min(range.last + LENGTHS.DAY, last + 1)];
  const better = shortest(subject, end - start, min);
  if (better === 'DAY') return of('DAY', end - start, buckets);
  const bounds = { gte: isoTime(start * 1e3), lt: isoTime(end * 1e3) };
  const detailed = await readBuckets(subject, better, { ...current, timestamp: bounds }, signal);
  const isOutside = ({ start }: Bucket) => Date.parse(start) / 1e3 < range.first || Date.parse(start) / 1e3 > range.last;
  return of(better, end - start, [...buckets.filter(isOutside), ...detailed]);
}

async function readBuckets(
  subject: Subject,
  bucket: Length,
  filter: ResultFilter,
  signal: AbortSignal,
): Promise<OverviewBucket[]> {
  subject.requested = bucket;
  const variables = { bucket, filter, groupBy: subject.labelName ? [subject.labelName] : [] };
  const { resultsOverTime } = await runQuery<{ resultsOverTime: Bucket[] }>(overTimeQuery, variables, { signal });
  return resultsOverTime.map((each) => ({ ...each, seconds: LENGTHS[bucket], name: NAMES[bucket] }));
}

/** Returns the shortest length, of at least `min`, with which a range has few enough buckets. */
function shortest({ lines, results }: Subject, seconds: number, min: Length): Length {
  const fits = (length: Length) => {
    const buckets = seconds / LENGTHS[length];
    // A short bucket has at least one result. Longer ones can have expired results only, which are not counted.
    const all = LENGTHS[length] < LENGTHS.HOUR ? Math.min(buckets * lines, results) : buckets * lines;
    return buckets <= MAX_LINE_BUCKETS && all <= MAX_BUCKETS;
  };
  const names = Object.keys(LENGTHS) as Length[];
  return names.find((name) => LENGTHS[name] >= LENGTHS[min] && fits(name)) ?? 'DAY';
}
