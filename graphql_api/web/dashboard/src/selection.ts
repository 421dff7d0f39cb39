// The sample that is shown in full: the one that was chosen, or else the newest.
import { computed, effect, signal } from '@preact/signals';
import { connection, results } from './results.ts';
import sampleQuery from './operations/sample.graphql';
import { key } from './key.ts';
import { ask, ServerError } from './server.ts';
import type { Sample } from './types.ts';

const NEWEST_MILLISECONDS = 1_000;

export const chosen = signal<string | null>(null);
export const shown = computed(() => chosen.value ?? results.value[0]?.id ?? null);
/** Changes when the result of the sample that is shown comes, or is computed anew. */
const version = computed(() => results.value.find(({ id }) => id === shown.value)?.computedAt);
export const sample = signal<Sample | null>(null);
export const fault = signal<string | null>(null);

/** Reads the sample that is to be shown, for as long as the page is open, again after an outage. The newest one may change often. */
export function start(): void {
  let read = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const id = shown.value;
    void version.value;
    clearTimeout(timer);
    if (id === null || !key.value) {
      sample.value = null;
      return;
    }
    const wait = chosen.value ? 0 : Math.max(0, read + NEWEST_MILLISECONDS - performance.now());
    timer = setTimeout(() => {
      read = performance.now();
      void load(id);
    }, wait);
  });
  effect(() => {
    const id = shown.peek();
    if (connection.value.name === 'live' && fault.peek() && id) void load(id);
  });
}

async function load(id: string): Promise<void> {
  try {
    const answer = await ask<{ sample: Sample | null }>(sampleQuery, { id });
    if (shown.peek() !== id && chosen.peek() !== null) return;
    sample.value = answer.sample;
    fault.value = null;
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (shown.peek() !== id) return;
    if (sample.peek()?.id !== id) sample.value = null;
    fault.value = error.message;
  }
}
