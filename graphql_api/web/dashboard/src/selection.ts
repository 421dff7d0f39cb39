// The sample that is displayed in detail: the selected sample, or the newest sample if none is selected.
import { batch, computed, effect, signal } from '@preact/signals';
import { showsResults } from './filter.ts';
import deletedQuery from './operations/deleted.graphql';
import { sampleQuery } from './queries.ts';
import { connection, removedAt, results } from './results.ts';
import { samples } from './samples.ts';
import { runQuery, ServerError } from './server.ts';
import { session } from './session.ts';
import type { DeletedSample, Sample, SampleState } from './types.ts';

const MIN_RELOAD_MILLISECONDS = 1_000;
const UNFINISHED_MILLISECONDS = 2_000;
const RETRY_MILLISECONDS = 4_000;
const UNFINISHED: readonly SampleState[] = ['PENDING', 'DELETED']; // a sample is DELETED until it does not exist any more

export const selectedId = signal<string | null>(null);
export const displayedId = computed(() => selectedId.value ?? (showsResults.value ? results.value : samples.value)?.[0]?.id ?? null);
/** Changes when the displayed sample gets its first result or a new result, and when it is deleted or superseded. */
const version = computed(() => {
  const id = displayedId.value;
  return id && [results.value.find((result) => result.id === id)?.computedAt, removedAt(id)].join(' ');
});
export const sample = signal<Sample | null>(null);
/** Whether the displayed sample does not exist. */
export const isMissing = signal(false);
/** The record of the displayed sample if it was deleted. */
export const deletion = signal<DeletedSample | null>(null);
export const fault = signal<string | null>(null);

let retryTimer: ReturnType<typeof setTimeout> | undefined;
let startedLoads = 0;
let finishedLoad = 0; // the newest load that has finished; responses can arrive in another order

/**
 * Loads the displayed sample while the page is open, and after an outage. Loads the newest one at most once a second, and
 * one that is PENDING or DELETED every two seconds: if its result does not match the filter, it never arrives on this page.
 */
export function start(): void {
  let loadedAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const id = displayedId.value;
    void version.value;
    clearTimeout(timer);
    if (id === null || !session.value) {
      sample.value = null;
      return;
    }
    const delay = selectedId.value ? 0 : Math.max(0, loadedAt + MIN_RELOAD_MILLISECONDS - performance.now());
    timer = setTimeout(() => {
      loadedAt = performance.now();
      void load(id);
    }, delay);
  });
  effect(() => {
    const displayed = sample.value;
    if (!displayed || !UNFINISHED.includes(displayed.state) || displayed.id !== displayedId.value) return undefined;
    const reload = setTimeout(() => void load(displayed.id), UNFINISHED_MILLISECONDS);
    return () => clearTimeout(reload);
  });
  effect(() => {
    const id = displayedId.peek();
    if (connection.value.name === 'live' && fault.peek() && id) void load(id);
  });
}

async function load(id: string): Promise<void> {
  clearTimeout(retryTimer);
  const current = ++startedLoads;
  const isLate = () => {
    finishedLoad = Math.max(current, finishedLoad);
    return current < finishedLoad;
  };
  try {
    const { sample: found } = await runQuery<{ sample: Sample | null }>(sampleQuery, { id });
    const record = found ? null : await runQuery<{ deletedSample: DeletedSample | null }>(deletedQuery, { id });
    if (isLate() || (displayedId.peek() !== id && selectedId.peek() !== null)) return;
    batch(() => {
      sample.value = found;
      isMissing.value = found === null;
      deletion.value = record?.deletedSample ?? null;
      fault.value = null;
    });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (isLate() || displayedId.peek() !== id) return;
    if (sample.peek()?.id !== id) sample.value = null;
    fault.value = error.refusal;
    if (!error.isFinal) retryTimer = setTimeout(() => displayedId.peek() === id && void load(id), RETRY_MILLISECONDS);
  }
}
