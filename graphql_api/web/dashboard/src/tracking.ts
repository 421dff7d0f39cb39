// The outcomes of submitted samples. A subscription delivers results. No subscription
// delivers failures, so they are polled.
import { runQuery } from './server.ts';
import { streamResults, type StreamHandlers } from './stream.ts';
import type { Problem, SampleState } from './types.ts';

const MAX_POLLED = 70; // an operation can select 350 fields: five per sample
const POLL_MILLISECONDS = 1_500;
const NOTIFY_MILLISECONDS = 100;

export type Outcome = SampleState | 'NOT_STORED';
export type Counts = Record<Outcome, number>;

export interface Line {
  number: number;
  id: string | null;
  outcome: Outcome;
  problems: Pick<Problem, 'path' | 'message'>[];
}

/** Tracks samples until all samples are in a final state. Calls `onChange` at most ten times a second. */
export class Tracker {
  readonly lines: Line[] = [];
  /** Resolves when the subscription is active, or when it has failed. */
  readonly ready: Promise<void>;
  #pending = new Map<string, Line[]>(); // equal lines are one sample
  #early = new Set<string>(); // ids whose results arrived before their receipts
  #isComplete = false;
  #stop = new AbortController();
  #notifyTimer: ReturnType<typeof setTimeout> | undefined;
  #pollTimer: ReturnType<typeof setInterval>;

  constructor(private readonly onChange: (lines: readonly Line[], isSettled: boolean) => void) {
    this.ready = new Promise((resolve) => {
      const handlers: StreamHandlers = {
        load: async () => resolve(),
        onResult: ({ id }) => {
          if (this.#pending.has(id)) this.#settle(id, 'COMPUTED');
          else if (!this.#isComplete) this.#early.add(id);
        },
        onState: ({ name }) => name === 'waiting' && resolve(),
        onRefused: () => resolve(),
      };
      void streamResults(handlers, {}, this.#stop.signal);
    });
    this.#pollTimer = setInterval(() => void this.#poll(), POLL_MILLISECONDS);
  }

  /** Adds lines with the server's responses. */
  add(lines: readonly Line[]): void {
    for (const line of lines) {
      if (line.id && line.outcome === 'PENDING') {
        if (this.#early.has(line.id)) line.outcome = 'COMPUTED';
        else this.#pending.set(line.id, [...(this.#pending.get(line.id) ?? []), line]);
      }
      this.lines.push(line);
    }
    this.#scheduleNotify();
  }

  /** Call it after the last line was added. */
  complete(): void {
    this.#isComplete = true;
    this.#early.clear();
    clearTimeout(this.#notifyTimer);
    this.#notify();
  }

  /** Ends the tracking. */
  stop(): void {
    clearInterval(this.#pollTimer);
    clearTimeout(this.#notifyTimer);
    this.#stop.abort();
  }

  counts(): Counts {
    const counts = { PENDING: 0, COMPUTED: 0, SUPERSEDED: 0, FAILED: 0, REJECTED: 0, DELETED: 0, NOT_STORED: 0 };
    for (const { outcome } of this.lines) counts[outcome] += 1;
    return counts;
  }

  #settle(id: string, outcome: Outcome, problems: Line['problems'] = []): void {
    for (const line of this.#pending.get(id) ?? []) Object.assign(line, { outcome, problems });
    this.#pending.delete(id);
    this.#scheduleNotify();
  }

  #scheduleNotify(): void {
    if (this.#stop.signal.aborted) return;
    this.#notifyTimer ??= setTimeout(() => this.#notify(), NOTIFY_MILLISECONDS);
  }

  #notify(): void {
    this.#notifyTimer = undefined;
    const isSettled = this.#isComplete && this.#pending.size === 0;
    if (isSettled) this.stop();
    this.onChange([...this.lines], isSettled);
  }

  /** Asks for the states of some pending samples. The next poll asks for the others. */
  async #poll(): Promise<void> {
    const ids = this.#isComplete ? [...this.#pending.keys()].slice(0, MAX_POLLED) : [];
    if (ids.length === 0) return;
    const fields = ids.map((id, index) => `s${index}: sample(id: "${id}") { state problems { path message } }`);
    const samples = await runQuery<Record<string, { state: SampleState; problems: Problem[] } | null>>(
      `query Outcomes { ${fields.join(' ')} }`,
    ).catch(() => ({}) as Record<string, null>); // the next poll repeats the query
    const before = this.#pending.size;
    ids.forEach((id, index) => {
      const sample = samples[`s${index}`];
      if (sample === null) this.#settle(id, 'DELETED');
      else if (sample && sample.state !== 'PENDING') this.#settle(id, sample.state, sample.problems);
      else this.#moveToEnd(id);
    });
    if (before - this.#pending.size > MAX_POLLED / 2) void this.#poll(); // a file that was submitted before is polled quickly
  }

  #moveToEnd(id: string): void {
    const lines = this.#pending.get(id);
    if (!lines) return; // the subscription has delivered the result
    this.#pending.delete(id);
    this.#pending.set(id, lines);
  }
}
