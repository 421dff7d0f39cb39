// The newest samples in the selected state, if it is a state without listed results.
import { batch, computed, effect, signal } from '@preact/signals';
import { sampleFilter, selectedState, showsResults } from './filter.ts';
import { fault } from './results.ts';
import { MAX_PAGES, readSamples } from './sample_pages.ts';
import { ServerError } from './server.ts';
import { session } from './session.ts';
import { countedRemovals, counts } from './states.ts';
import type { ListedSample } from './types.ts';

const STEP = 50;
const RETRY_MILLISECONDS = 4_000;

/** The newest first. Null until the server has responded. */
export const samples = signal<readonly ListedSample[] | null>(null);
/** Whether there are older samples, which may be in another state. */
export const hasOlder = signal(false);

/** The counts that change with the list. In any other state than FAILED and REJECTED, these are the counts of all states. */
const relevantCounts = computed(() => {
  const state = selectedState.value;
  const ofStates = state === 'FAILED' || state === 'REJECTED' ? counts.value?.[state.toLowerCase() as 'failed' | 'rejected'] : counts.value;
  return JSON.stringify([ofStates, countedRemovals.value]);
});
let steps = 1; // the number of times that the user has requested samples
let view = 0; // increases when another list is displayed
let retryTimer: ReturnType<typeof setTimeout> | undefined;

/** Reads the samples again whenever the numbers of samples change. */
export function start(): void {
  effect(() => {
    void sampleFilter.value;
    steps = 1;
    batch(() => {
      samples.value = null;
      hasOlder.value = false;
    });
    view += 1;
  });
  effect(() => {
    void sampleFilter.value;
    void relevantCounts.value;
    if (session.value && !showsResults.value) void read();
  });
}

/** Loads the next older samples, or searches for them further. */
export async function loadOlder(): Promise<void> {
  steps += 1;
  await read();
}

async function read(): Promise<void> {
  const opened = view;
  clearTimeout(retryTimer);
  try {
    const { found, isMore } = await readSamples(sampleFilter.peek(), steps * STEP, steps * MAX_PAGES);
    if (opened !== view) return;
    batch(() => {
      samples.value = found;
      hasOlder.value = isMore;
    });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (opened !== view) return;
    if (error.isFinal) fault.value = error.refusal;
    else retryTimer = setTimeout(() => opened === view && void read(), RETRY_MILLISECONDS);
  }
}
