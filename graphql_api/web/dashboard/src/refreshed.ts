// Values that the server computes from all matching results.
//
// The computation can take long. The page therefore waits before it repeats a request: at least for
// `MIN_PAUSE_MILLISECONDS`, and several times as long as the last response took. Shortly after a deletion or a correction,
// it waits less: the user who made the change would take old statistics for the new ones.
import { batch, computed, effect, signal, untracked, type Signal } from '@preact/signals';
import { arrived, removed, total } from './results.ts';
import { ServerError } from './server.ts';
import { session } from './session.ts';

/**
 * The server has rollups of whole hours and days, and only for filters by time stamp and labels. For other summaries it
 * reads each result, and refuses if this takes longer than 25 s. The page requests them for fewer results than this.
 */
export const MAX_READ_RESULTS = 20_000;

const MIN_PAUSE_MILLISECONDS = 15_000;
const MIN_PAUSE_AFTER_REMOVAL_MILLISECONDS = 1_000;
const REMOVAL_MILLISECONDS = 5_000; // the result of a correction arrives shortly after the removal of the earlier result
const PAUSE_FACTOR = 5;

/** Changes with the results. A recomputation or a correction does not change their number. */
const version = computed(() => [total, arrived, removed].map((each) => each.value).join(' '));

interface Source<T> {
  /** Returns what the value depends on. A change discards the value. */
  subject(): unknown;
  isNeeded(): boolean;
  /** Throws `ServerError`. */
  read(signal: AbortSignal): Promise<T | null>;
}

interface Refreshed<T> {
  /** Null if the value is not needed, or until the server has responded. */
  value: Signal<T | null>;
  /** Why the server did not return the value, or null. */
  fault: Signal<string | null>;
  /** Reads the value while it is needed, and again after the results have changed. */
  start(): void;
}

export function refreshed<T>({ subject, isNeeded, read }: Source<T>): Refreshed<T> {
  const value = signal<T | null>(null);
  const fault = signal<string | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let reading: AbortController | null = null;
  let [readAt, duration] = [-Infinity, 0];
  let [removals, removedAt] = [removed.peek(), -Infinity];

  const set = (next: T | null, reason: string | null) =>
    batch(() => {
      value.value = next;
      fault.value = reason;
    });

  const schedule = () => {
    const now = performance.now();
    const min = now - removedAt < REMOVAL_MILLISECONDS ? MIN_PAUSE_AFTER_REMOVAL_MILLISECONDS : MIN_PAUSE_MILLISECONDS;
    clearTimeout(timer);
    timer = setTimeout(() => void refresh(), Math.max(0, readAt + Math.max(min, PAUSE_FACTOR * duration) - now));
  };

  const refresh = async () => {
    if (reading || document.hidden || !untracked(isNeeded)) return;
    const current = new AbortController();
    const [start, counted] = [performance.now(), version.peek()];
    let isTemporary = false;
    reading = current;
    try {
      const response = await read(current.signal);
      if (current.signal.aborted || !untracked(isNeeded)) return;
      set(response, null);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (current.signal.aborted) return;
      fault.value = error.refusal;
      isTemporary = !error.isFinal;
    } finally {
      if (reading === current) reading = null;
    }
    readAt = performance.now();
    duration = readAt - start;
    if (isTemporary || version.peek() !== counted) schedule();
  };

  const start = () => {
    effect(() => {
      void session.value; // another user may sign in without a new page
      subject();
      untracked(() => {
        reading?.abort();
        reading = null;
        readAt = -Infinity;
        set(null, null);
      });
    });
    effect(() => {
      subject();
      void version.value;
      if (removed.value !== removals) [removals, removedAt] = [removed.value, performance.now()];
      if (isNeeded()) schedule();
      else untracked(() => set(null, null));
    });
    document.addEventListener('visibilitychange', schedule);
  };

  return { value, fault, start };
}
