// Where the samples are on their way. Nothing announces that, so it is asked for: often while something happens,
// seldom otherwise, never while nobody looks.
import { effect, signal } from '@preact/signals';
import { key, refusal } from './key.ts';
import problemsQuery from './operations/problems.graphql';
import statesQuery from './operations/states.graphql';
import { arrived, fault } from './results.ts';
import { ask, ServerError } from './server.ts';
import type { ProblemSample } from './types.ts';

const BUSY_MILLISECONDS = 1_000;
const QUIET_MILLISECONDS = 8_000;
const PROBLEMS = 20;

export interface Counts {
  pending: number;
  computed: number;
  failed: number;
  rejected: number;
}

interface Counted {
  totalCount: number;
}

type Answer = Record<keyof Counts, Counted> & {
  newest: { edges: { node: { id: string; computedAt: string; sample: { submittedAt: string } } }[] };
};

export const counts = signal<Counts | null>(null);
/** Milliseconds from submission to result of the newest results, the newest first. */
export const delays = signal<readonly number[]>([]);
export const problems = signal<readonly ProblemSample[]>([]);

let timer: ReturnType<typeof setTimeout> | undefined;
let isAsking = false;

/** Asks for as long as the page is open. */
export function start(): void {
  effect(() => {
    void arrived.value;
    if (key.value) soon();
    else clearTimeout(timer);
  });
  document.addEventListener('visibilitychange', soon);
}

/** Asks again shortly: something has happened. */
export function soon(): void {
  if (isAsking || document.hidden || !key.peek()) return;
  plan(counts.peek() ? BUSY_MILLISECONDS : 0);
}

let planned = Infinity;

function plan(milliseconds: number): void {
  const due = performance.now() + milliseconds;
  if (due >= planned) return;
  clearTimeout(timer);
  planned = due;
  timer = setTimeout(refresh, milliseconds);
}

async function refresh(): Promise<void> {
  planned = Infinity;
  if (isAsking || document.hidden || !key.peek()) return;
  isAsking = true;
  const before = counts.peek();
  try {
    const { newest, ...states } = await ask<Answer>(statesQuery);
    const now = {
      pending: states.pending.totalCount,
      computed: states.computed.totalCount,
      failed: states.failed.totalCount,
      rejected: states.rejected.totalCount,
    };
    if (before?.failed !== now.failed || before.rejected !== now.rejected) await readProblems(now);
    counts.value = now;
    delays.value = newest.edges.map(({ node }) => Date.parse(node.computedAt) - Date.parse(node.sample.submittedAt));
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.isAboutKey) refusal.value = error.message;
    else if (error.isFinal) fault.value = error.message;
  } finally {
    isAsking = false;
  }
  plan(counts.value?.pending ? BUSY_MILLISECONDS : QUIET_MILLISECONDS);
}

async function readProblems(now: Counts): Promise<void> {
  const states = (['FAILED', 'REJECTED'] as const).filter((state) => now[state === 'FAILED' ? 'failed' : 'rejected']);
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
