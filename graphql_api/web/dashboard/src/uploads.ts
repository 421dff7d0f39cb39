// Files that are submitted: one after the other, each with what became of its samples.
import { signal } from '@preact/signals';
import { announce } from './announcements.ts';
import { integer } from './format.ts';
import { parts, post, type Answer } from './sending.ts';
import { soon } from './states.ts';
import { Tracker, type Counts, type Line } from './tracking.ts';
import type { Problem, SampleState } from './types.ts';

const NDJSON_NAME = /\.(ndjson|jsonl|jsonlines)$/i;
const SNIFFED_BYTES = 1024 * 1024;

export interface Upload {
  id: number;
  name: string;
  size: number;
  sent: number;
  phase: 'waiting' | 'sending' | 'done' | 'broken' | 'stopped';
  error: string | null;
  lines: readonly Line[];
  counts: Counts;
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
const stops = new Map<number, AbortController>();

/** Submits files, one after the other. */
export function submit(files: Iterable<File>): void {
  for (const file of files) {
    const id = ++numbers;
    const counts = { PENDING: 0, COMPUTED: 0, FAILED: 0, REJECTED: 0, NOT_STORED: 0 };
    const upload: Upload = { id, name: file.name, size: file.size, sent: 0, phase: 'waiting', error: null, lines: [], counts };
    uploads.value = [upload, ...uploads.value];
    stops.set(id, new AbortController());
    queue = queue.then(() => send(id, file));
  }
}

/** Stops sending a file, or takes one that is done off the list. */
export function dismiss(id: number): void {
  const upload = uploads.value.find((each) => each.id === id);
  if (upload && isUnderWay(upload)) stops.get(id)?.abort();
  else uploads.value = uploads.value.filter((each) => each.id !== id);
}

export const isUnderWay = ({ phase }: Upload): boolean => phase === 'waiting' || phase === 'sending';

export function summary({ counts, phase, error }: Upload): string {
  const said = [
    [counts.COMPUTED, 'computed'],
    [counts.PENDING, 'pending'],
    [counts.REJECTED, 'rejected'],
    [counts.FAILED, 'failed'],
    [counts.NOT_STORED, 'not stored'],
  ]
    .filter(([count]) => Number(count) > 0)
    .map(([count, state]) => `${integer(Number(count))} ${state}`);
  if (error) said.push(error);
  return said.join(', ') || (phase === 'done' ? 'nothing in it' : phase);
}

async function send(id: number, file: File): Promise<void> {
  const stop = (stops.get(id) as AbortController).signal;
  if (stop.aborted) return end(id, 'stopped', null);
  change(id, { phase: 'sending' });
  const tracker = new Tracker((lines, isSettled) => {
    change(id, { lines, counts: tracker.counts() });
    const upload = uploads.peek().find((each) => each.id === id);
    if (isSettled && upload) announce(`${upload.name}: ${summary(upload)}`);
  });
  await tracker.ready;
  try {
    const error = NDJSON_NAME.test(file.name) || (await holdsLines(file))
      ? await sendLines(id, file, tracker, stop)
      : await sendOne(id, file, tracker, stop);
    if (stop.aborted) end(id, 'stopped', 'stopped; what is listed here is stored');
    else end(id, error ? 'broken' : 'done', error);
  } catch {
    end(id, 'broken', 'the file could not be read');
  }
  tracker.complete();
  soon();
}

async function sendLines(id: number, file: File, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  for await (const { body, start, firstLine } of parts(file)) {
    if (stop.aborted) return null;
    const onSent = (sent: number) => change(id, { sent: start + sent });
    const answer = await post(body, 'application/x-ndjson', onSent, stop);
    if (answer?.status !== 200) return reason(answer);
    const receipts = answer.text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Receipt);
    tracker.take(receipts.flatMap((receipt) => (receipt.line ? toLine(receipt, receipt.line + firstLine - 1) : [])));
    const ended = receipts.find(({ line, error }) => !line && error);
    if (ended) return ended.error?.message ?? null;
    change(id, { sent: start + body.size });
  }
  return null;
}

async function sendOne(id: number, file: File, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const answer = await post(file, 'application/json', (sent) => change(id, { sent }), stop);
  if (answer?.status !== 201 && answer?.status !== 422) return reason(answer);
  tracker.take([toLine(JSON.parse(answer.text) as Receipt, 1)]);
  return null;
}

function toLine({ id, state, problems = [], error }: Receipt, number: number): Line {
  if (error) return { number, id: null, outcome: 'NOT_STORED', problems: [{ path: '', message: error.message }] };
  return { number, id: id ?? null, outcome: state ?? 'NOT_STORED', problems };
}

function end(id: number, phase: Upload['phase'], error: string | null): void {
  stops.delete(id);
  change(id, { phase, error });
}

function change(id: number, changes: Partial<Upload>): void {
  uploads.value = uploads.value.map((upload) => (upload.id === id ? { ...upload, ...changes } : upload));
}

/** Tells whether a file has a sample on each line, rather than one sample on one or more lines. */
async function holdsLines(file: File): Promise<boolean> {
  const text = (await file.slice(0, SNIFFED_BYTES).text()).trimStart();
  const lineEnd = text.indexOf('\n');
  if (lineEnd < 0 || (text.slice(lineEnd).trim() === '' && file.size <= SNIFFED_BYTES)) return false;
  try {
    JSON.parse(text.slice(0, lineEnd));
    return true;
  } catch {
    return false;
  }
}

function reason(answer: Answer | null): string {
  if (answer === null) return 'the connection was lost; what is not listed here may not be stored';
  try {
    return JSON.parse(answer.text).error.message;
  } catch {
    return `the server answered ${answer.status}`;
  }
}
