// Files that are submitted: each as one request, answered line by line while it is still being sent.
//
// XMLHttpRequest, because fetch does not tell how much of a body was sent.
import { signal } from '@preact/signals';
import { announce } from './announcements.ts';
import { follow, type Reader } from './feed.ts';
import { plural } from './format.ts';
import { ask, headers } from './server.ts';
import { soon } from './states.ts';
import type { Problem, SampleState } from './types.ts';

const NDJSON_NAME = /\.(ndjson|jsonl|jsonlines)$/i;
const SNIFFED_BYTES = 1024 * 1024;
const ASKED_AT_ONCE = 40;
const ASK_MILLISECONDS = 1_500;
const SHOW_MILLISECONDS = 100;

export type Outcome = SampleState | 'NOT_STORED';

export interface Line {
  number: number;
  id: string | null;
  outcome: Outcome;
  problems: Pick<Problem, 'path' | 'message'>[];
}

export interface Upload {
  id: number;
  name: string;
  size: number;
  sent: number;
  phase: 'waiting' | 'sending' | 'answering' | 'done' | 'broken' | 'cancelled';
  error: string | null;
  lines: readonly Line[];
  counts: Record<Outcome, number>;
}

interface Receipt {
  line?: number;
  id?: string;
  state?: SampleState;
  problems?: Problem[];
  error?: { message: string };
}

export const uploads = signal<readonly Upload[]>([]); // the newest first

let numbers = 0;
let queue = Promise.resolve();
const cancels = new Map<number, () => void>();

/** Submits files, one after the other. */
export function submit(files: Iterable<File>): void {
  for (const file of files) {
    const upload: Upload = {
      id: ++numbers,
      name: file.name,
      size: file.size,
      sent: 0,
      phase: 'waiting',
      error: null,
      lines: [],
      counts: { PENDING: 0, COMPUTED: 0, FAILED: 0, REJECTED: 0, NOT_STORED: 0 },
    };
    uploads.value = [upload, ...uploads.value];
    queue = queue.then(() => send(upload, file));
  }
}

/** Stops sending, or takes a file that is done off the list. */
export function dismiss(id: number): void {
  cancels.get(id)?.();
  const upload = uploads.value.find((each) => each.id === id);
  if (upload && !isUnderWay(upload)) uploads.value = uploads.value.filter((each) => each.id !== id);
  else if (upload?.phase === 'waiting') change(id, { phase: 'cancelled' });
}

export const isUnderWay = ({ phase }: Upload): boolean => ['waiting', 'sending', 'answering'].includes(phase);

async function send(upload: Upload, file: File): Promise<void> {
  const { id } = upload;
  if (uploads.value.find((each) => each.id === id)?.phase !== 'waiting') return;
  change(id, { phase: 'sending' });
  const isStream = NDJSON_NAME.test(file.name) || (await holdsLines(file));
  const tracked = track(id);
  await tracked.ready;
  await new Promise<void>((resolve) => {
    const request = new XMLHttpRequest();
    let read = 0;
    const readLines = () => {
      const text = request.responseText;
      const end = text.lastIndexOf('\n') + 1;
      if (end > read) tracked.take(text.slice(read, end).split('\n').filter(Boolean).map((line) => JSON.parse(line)));
      read = Math.max(read, end);
    };
    const end = (phase: Upload['phase'], error: string | null = null) => {
      cancels.delete(id);
      change(id, { phase, error });
      tracked.finish();
      resolve();
    };
    cancels.set(id, () => request.abort());
    request.upload.onprogress = ({ loaded }) => change(id, { sent: Math.min(loaded, file.size) });
    request.upload.onload = () => change(id, { sent: file.size, phase: 'answering' });
    if (isStream) request.onprogress = () => request.status === 200 && readLines();
    request.onload = () => {
      if (isStream ? request.status === 200 : request.status === 201 || request.status === 422) {
        if (isStream) readLines();
        else tracked.take([JSON.parse(request.responseText)]);
        const broken = tracked.broken();
        end(broken ? 'broken' : 'done', broken);
      } else end('broken', reason(request));
    };
    request.onerror = () => end('broken', 'The connection was lost. What is not listed here may not be stored.');
    request.onabort = () => end('cancelled', 'You stopped it. What is listed here is stored.');
    request.open('POST', '/samples');
    const type = isStream ? 'application/x-ndjson' : 'application/json';
    for (const [name, value] of Object.entries(headers({ 'content-type': type }))) request.setRequestHeader(name, value);
    request.send(file);
  });
  soon();
}

/** Follows the samples of a file to their ends: results come by themselves, failures are asked for. */
function track(id: number) {
  const lines: Line[] = [];
  const pending = new Map<string, Line>();
  const early = new Set<string>(); // computed before the receipt came
  const stop = new AbortController();
  let isComplete = false;
  let broken: string | null = null;
  let showing: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    showing ??= setTimeout(() => {
      showing = undefined;
      const counts = { PENDING: 0, COMPUTED: 0, FAILED: 0, REJECTED: 0, NOT_STORED: 0 };
      for (const line of lines) counts[line.outcome] += 1;
      change(id, { lines: [...lines], counts });
      if (isComplete && pending.size === 0 && !stop.signal.aborted) {
        stop.abort();
        const upload = uploads.value.find((each) => each.id === id);
        if (upload) announce(`${upload.name}: ${summary(upload)}`);
      }
    }, SHOW_MILLISECONDS);
  };
  const settle = (sampleId: string, outcome: Outcome, problems: Line['problems'] = []) => {
    const line = pending.get(sampleId);
    if (!line) return;
    Object.assign(line, { outcome, problems });
    pending.delete(sampleId);
    show();
  };
  const ready = new Promise<void>((resolve) => {
    const reader: Reader = {
      load: async () => resolve(),
      onResult: ({ id: sample }) => {
        if (pending.has(sample)) settle(sample, 'COMPUTED');
        else if (!isComplete) early.add(sample);
      },
      onState: ({ name }) => name === 'waiting' && resolve(),
      onRefused: () => resolve(),
    };
    void follow(reader, {}, stop.signal);
  });
  const askForSome = async () => {
    const some = [...pending.keys()].slice(0, ASKED_AT_ONCE);
    const fields = some.map((sample, index) => `s${index}: sample(id: "${sample}") { state problems { path message } }`);
    const answers = await ask<Record<string, { state: SampleState; problems: Problem[] } | null>>(
      `query States { ${fields.join(' ')} }`,
    ).catch(() => ({}) as Record<string, null>);
    some.forEach((sample, index) => {
      const answer = answers[`s${index}`];
      if (answer && answer.state !== 'PENDING') settle(sample, answer.state, answer.problems);
    });
  };
  const asking = setInterval(() => {
    if (stop.signal.aborted) clearInterval(asking);
    else if (isComplete && pending.size > 0) void askForSome();
  }, ASK_MILLISECONDS);
  return {
    ready,
    take(receipts: Receipt[]) {
      for (const { line: number = 1, id: sample = null, state, problems = [], error } of receipts) {
        if (error && sample === null && lines.length && number === 1) broken = error.message;
        else {
          const outcome = error ? 'NOT_STORED' : sample && early.has(sample) ? 'COMPUTED' : (state ?? 'NOT_STORED');
          const line: Line = {
            number,
            id: sample,
            outcome,
            problems: error ? [{ path: '', message: error.message }] : problems,
          };
          lines.push(line);
          if (sample && outcome === 'PENDING') pending.set(sample, line);
        }
      }
      show();
    },
    broken: () => broken,
    finish() {
      isComplete = true;
      early.clear();
      show();
    },
  };
}

export function summary({ counts, error }: Upload): string {
  const parts = [
    [counts.COMPUTED, 'computed'],
    [counts.PENDING, 'pending'],
    [counts.REJECTED, 'rejected'],
    [counts.FAILED, 'failed'],
    [counts.NOT_STORED, 'not stored'],
  ] as const;
  const said = parts.filter(([count]) => count > 0).map(([count, state]) => `${plural(count)} ${state}`);
  return [...said, ...(error ? [error] : [])].join(', ') || 'nothing to submit';
}

function change(id: number, changes: Partial<Upload>): void {
  uploads.value = uploads.value.map((upload) => (upload.id === id ? { ...upload, ...changes } : upload));
}

/** Tells whether a file has a sample on each line, rather than one sample on one or more lines. */
async function holdsLines(file: File): Promise<boolean> {
  const text = (await file.slice(0, SNIFFED_BYTES).text()).trimStart();
  const end = text.indexOf('\n');
  if (end < 0 || (text.slice(end).trim() === '' && file.size <= SNIFFED_BYTES)) return false;
  try {
    JSON.parse(text.slice(0, end));
    return true;
  } catch {
    return false;
  }
}

function reason(request: XMLHttpRequest): string {
  try {
    return JSON.parse(request.responseText).error.message;
  } catch {
    return `The server answered ${request.status}.`;
  }
}
