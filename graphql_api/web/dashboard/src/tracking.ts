// What becomes of submitted samples: results come by themselves, failures are asked for.
import { follow, type Reader } from './feed.ts';
import { ask } from './server.ts';
import type { Problem, SampleState } from './types.ts';

const ASKED_AT_ONCE = 40;
const ASK_MILLISECONDS = 1_500;
const SHOW_MILLISECONDS = 100;

export type Outcome = SampleState | 'NOT_STORED';
export type Counts = Record<Outcome, number>;

export interface Line {
  number: number;
  id: string | null;
  outcome: Outcome;
  problems: Pick<Problem, 'path' | 'message'>[];
}

/** Follows samples until each is in its last state. `onChange` is called a few times a second at most. */
export class Tracker {
  readonly lines: Line[] = [];
  /** Settled once nothing that is submitted from now on can be missed, or that cannot be had. */
  readonly ready: Promise<void>;
  #pending = new Map<string, Line>();
  #early = new Set<string>(); // computed before their receipts came
  #isComplete = false;
  #stop = new AbortController();
  #showing: ReturnType<typeof setTimeout> | undefined;
  #asking: ReturnType<typeof setInterval>;

  constructor(private readonly onChange: (lines: readonly Line[], isSettled: boolean) => void) {
    this.ready = new Promise((resolve) => {
      const reader: Reader = {
        load: async () => resolve(),
        onResult: ({ id }) => {
          if (this.#pending.has(id)) this.#settle(id, 'COMPUTED');
          else if (!this.#isComplete) this.#early.add(id);
        },
        onState: ({ name }) => name === 'waiting' && resolve(),
        onRefused: () => resolve(),
      };
      void follow(reader, {}, this.#stop.signal);
    });
    this.#asking = setInterval(() => void this.#ask(), ASK_MILLISECONDS);
  }

  /** Takes what the server answered to lines. */
  take(lines: readonly Line[]): void {
    for (const line of lines) {
      if (line.id && line.outcome === 'PENDING') {
        if (this.#early.has(line.id)) line.outcome = 'COMPUTED';
        else this.#pending.set(line.id, line);
      }
      this.lines.push(line);
    }
    this.#show();
  }

  /** Says that there are no more lines. */
  complete(): void {
    this.#isComplete = true;
    this.#early.clear();
    clearTimeout(this.#showing);
    this.#tell();
  }

  counts(): Counts {
    const counts = { PENDING: 0, COMPUTED: 0, FAILED: 0, REJECTED: 0, NOT_STORED: 0 };
    for (const { outcome } of this.lines) counts[outcome] += 1;
    return counts;
  }

  #settle(id: string, outcome: Outcome, problems: Line['problems'] = []): void {
    const line = this.#pending.get(id);
    if (!line) return;
    Object.assign(line, { outcome, problems });
    this.#pending.delete(id);
    this.#show();
  }

  #show(): void {
    this.#showing ??= setTimeout(() => this.#tell(), SHOW_MILLISECONDS);
  }

  #tell(): void {
    this.#showing = undefined;
    const isSettled = this.#isComplete && this.#pending.size === 0;
    if (isSettled) {
      clearInterval(this.#asking);
      this.#stop.abort();
    }
    this.onChange([...this.lines], isSettled);
  }

  async #ask(): Promise<void> {
    const some = this.#isComplete ? [...this.#pending.keys()].slice(0, ASKED_AT_ONCE) : [];
    if (some.length === 0) return;
    const fields = some.map((id, index) => `s${index}: sample(id: "${id}") { state problems { path message } }`);
    const answers = await ask<Record<string, { state: SampleState; problems: Problem[] } | null>>(
      `query Outcomes { ${fields.join(' ')} }`,
    ).catch(() => ({}) as Record<string, null>); // it is asked for again
    some.forEach((id, index) => {
      const answer = answers[`s${index}`];
      if (answer && answer.state !== 'PENDING') this.#settle(id, answer.state, answer.problems);
    });
  }
}
