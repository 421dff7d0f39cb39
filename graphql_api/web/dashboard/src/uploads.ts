// Submitted files, with the outcomes of their samples. The page sends one file after another.
import { signal } from '@preact/signals';
import { announce } from './announcements.ts';
import { integer } from './format.ts';
import { parts, post, type PostResponse } from './sending.ts';
import { refreshSoon } from './states.ts';
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

let lastId = 0;
let queue = Promise.resolve();
const stops = new Map<number, AbortController>();

/** Submits files, one after another. */
export function submit(files: Iterable<File>): void {
  for (const file of files) {
    const id = ++lastId;
    const counts = { PENDING: 0, COMPUTED: 0, SUPERSEDED: 0, FAILED: 0, REJECTED: 0, DELETED: 0, NOT_STORED: 0 };
    const upload: Upload = { id, name: file.name, size: file.size, sent: 0, phase: 'waiting', error: null, lines: [], counts };
    uploads.value = [upload, ...uploads.value];
    stops.set(id, new AbortController());
    queue = queue.then(() => send(id, file));
  }
}

/** Stops sending a file. If the file is already sent, removes it from the list. */
export function dismiss(id: number): void {
  const upload = uploads.value.find((each) => each.id === id);
  if (upload && isActive(upload)) stops.get(id)?.abort();
  else uploads.value = uploads.value.filter((each) => each.id !== id);
}

export const isActive = ({ phase }: Upload): boolean => phase === 'waiting' || phase === 'sending';

export function summary({ counts, phase, error }: Upload): string {
  const texts = [
    [counts.COMPUTED, 'computed'],
    [counts.PENDING, 'pending'],
    [counts.REJECTED, 'rejected'],
    [counts.FAILED, 'failed'],
    [counts.SUPERSEDED, 'superseded'],
    [counts.DELETED, 'deleted'],
    [counts.NOT_STORED, 'not stored'],
  ]
    .filter(([count]) => Number(count) > 0)
    .map(([count, state]) => `${integer(Number(count))} ${state}`);
  if (error) texts.push(error);
  return texts.join(', ') || (phase === 'done' ? 'no samples in this file' : phase);
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
    const error = NDJSON_NAME.test(file.name) || (await isNdjson(file))
      ? await sendLines(id, file, tracker, stop)
      : await sendOne(id, file, tracker, stop);
    if (stop.aborted) end(id, 'stopped', 'stopped; the samples listed here are stored');
    else end(id, error ? 'broken' : 'done', error);
  } catch {
    end(id, 'broken', 'the file could not be read');
  }
  tracker.complete();
  refreshSoon();
}

async function sendLines(id: number, file: File, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  for await (const { body, start, firstLine } of parts(file)) {
    if (stop.aborted) return null;
    const onSent = (sent: number) => change(id, { sent: start + sent });
    const response = await post(body, 'application/x-ndjson', onSent, stop);
    if (response?.status !== 200) return reason(response);
    const receipts = response.text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Receipt);
    tracker.add(receipts.flatMap((receipt) => (receipt.line ? toLine(receipt, receipt.line + firstLine - 1) : [])));
    const failure = receipts.find(({ line, error }) => !line && error);
    if (failure) return failure.error?.message ?? null;
    change(id, { sent: start + body.size });
  }
  return null;
}

async function sendOne(id: number, file: File, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const response = await post(file, 'application/json', (sent) => change(id, { sent }), stop);
  if (response?.status !== 201 && response?.status !== 422) return reason(response);
  tracker.add([toLine(JSON.parse(response.text) as Receipt, 1)]);
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

/** Returns whether a file has one sample per line. Otherwise it has one sample, on one or more lines. */
async function isNdjson(file: File): Promise<boolean> {
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

function reason(response: PostResponse | null): string {
  if (response === null) return 'the connection was lost; samples that are not listed here may not be stored';
  try {
    return JSON.parse(response.text).error.message;
  } catch {
    return `the server responded with status ${response.status}`;
  }
}
