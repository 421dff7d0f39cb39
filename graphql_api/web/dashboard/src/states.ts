// Where the samples are on their way. Nothing announces that, so it is asked for: often while something happens,
// seldom otherwise, never while nobody looks.
//
// Samples that are PENDING or FAILED cost most to find, so they are counted together, as what is neither rejected nor
// computed. How many of these have failed is asked for when their number stands still, and now and then.
import { batch, effect, signal } from '@preact/signals';
import { key, refusal } from './key.ts';
import delaysQuery from './operations/delays.graphql';
import failedQuery from './operations/failed.graphql';
import problemsQuery from './operations/problems.graphql';
import statesQuery from './operations/states.graphql';
import { arrived, fault } from './results.ts';
import { ask, ServerError } from './server.ts';
import type { ProblemSample, SampleState } from './types.ts';

const BUSY_MILLISECONDS = 1_000;
const QUIET_MILLISECONDS = 8_000;
const PROBLEMS = 20;

export type Counts = Record<'pending' | 'computed' | 'failed' | 'rejected', number>;

interface Counted {
  totalCount: number;
}

interface Delays {
  results: { edges: { node: { id: string; computedAt: string; sample: { submittedAt: string } } }[] };
}

export const counts = signal<Counts | null>(null);
/** Milliseconds from submission to result of the newest results, the newest first. */
export const delays = signal<readonly number[]>([]);
export const problems = signal<readonly ProblemSample[]>([]);

let timer: ReturnType<typeof setTimeout> | undefined;
let due = Infinity;
let isAsking = false;
let unfinished = 0; // PENDING and FAILED
let failedAskedAt = -Infinity;

/** Asks for as long as the page is open. */
export function start(): void {
  effect(() => {
    void arrived.value;
    if (key.value) soon();
    else clear();
  });
  document.addEventListener('visibilitychange', soon);
}

/** Asks again shortly: something has happened. */
export function soon(): void {
  if (!isAsking) plan(counts.peek() ? BUSY_MILLISECONDS : 0);
}

function clear(): void {
  clearTimeout(timer);
  due = Infinity;
  batch(() => {
    counts.value = null;
    delays.value = [];
    problems.value = [];
  });
}

function plan(milliseconds: number): void {
  const wanted = performance.now() + milliseconds;
  if (wanted >= due) return;
  clearTimeout(timer);
  due = wanted;
  timer = setTimeout(refresh, milliseconds);
}

async function refresh(): Promise<void> {
  due = Infinity;
  if (isAsking || document.hidden || !key.peek()) return;
  isAsking = true;
  const before = counts.peek();
  try {
    const now = await count(before);
    if (before?.computed !== now.computed) await readDelays();
    if (before?.failed !== now.failed || before.rejected !== now.rejected) await readProblems(now);
    counts.value = now;
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.isAboutKey) refusal.value = error.refusal;
    else if (error.isFinal) fault.value = error.message;
  } finally {
    isAsking = false;
  }
  plan(counts.value?.pending ? BUSY_MILLISECONDS : QUIET_MILLISECONDS);
}

async function count(before: Counts | null): Promise<Counts> {
  const { all, rejected, computed } = await ask<Record<'all' | 'rejected' | 'computed', Counted>>(statesQuery);
  const others = Math.max(0, all.totalCount - rejected.totalCount - computed.totalCount);
  let failed = Math.min(before?.failed ?? 0, others);
  const isDue = others === unfinished || before === null || performance.now() > failedAskedAt + QUIET_MILLISECONDS;
  if (others !== failed && isDue) {
    failedAskedAt = performance.now();
    failed = Math.min((await ask<{ failed: Counted }>(failedQuery)).failed.totalCount, others);
  }
  unfinished = others;
  return { pending: others - failed, computed: computed.totalCount, failed, rejected: rejected.totalCount };
}

async function readDelays(): Promise<void> {
  const { results } = await ask<Delays>(delaysQuery);
  delays.value = results.edges.map(({ node }) => Date.parse(node.computedAt) - Date.parse(node.sample.submittedAt));
}

async function readProblems(now: Counts): Promise<void> {
  const states: SampleState[] = [];
  if (now.failed) states.push('FAILED');
  if (now.rejected) states.push('REJECTED');
  const pages = await Promise.all(
    states.map((state) =>
      ask<{ samples: { edges: { node: ProblemSample }[] } }>(problemsQuery, { state, first: PROBLEMS }),
    ),
  );
  problems.value = pages
    .flatMap(({ samples }) => samples.edges.map(({ node }) => node))
    .sort((one, other) => Date.parse(other.submittedAt) - Date.parse(one.submittedAt))
    .slice(0, PROBLEMS);
}
