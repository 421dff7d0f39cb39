// Submitted files, with the outcomes of their samples. The page sends one file after another.
//
// Each sample has an idempotency key: a line's key derives from its bytes, and a file with one sample has a key of its own.
// If the connection breaks, a retry therefore stores each sample once. It sends only the parts without a response.
import { effect, signal } from '@preact/signals';
import { announce } from './announcements.ts';
import { CsvError, toNdjson } from './csv.ts';
import { integer } from './format.ts';
import { parts, post, randomKey, type PostResponse } from './sending.ts';
import { session } from './session.ts';
import { refreshSoon } from './states.ts';
import { Tracker, type Counts, type Line } from './tracking.ts';
import type { Problem, SampleState } from './types.ts';

const NDJSON_NAME = /\.(ndjson|jsonl|jsonlines)$/i;
const CSV_NAME = /\.(csv|txt)$/i;
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

/** What a retry needs. */
interface Source {
  file: File;
  key: string;
  stop: AbortController;
  acknowledged: number; // the bytes of the parts that have a complete response
  nextLine: number; // the first line of the other parts
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
const sources = new Map<number, Source>();

/** Stops sending when the session ends: another user may sign in. */
export function start(): void {
  effect(() => {
    if (!session.value) for (const { stop } of sources.values()) stop.abort();
  });
}

/** Submits files, one after another. */
export function submit(files: Iterable<File>): void {
  for (const file of files) {
    const id = ++lastId;
    const counts = { PENDING: 0, COMPUTED: 0, SUPERSEDED: 0, FAILED: 0, REJECTED: 0, DELETED: 0, NOT_STORED: 0 };
    const upload: Upload = { id, name: file.name, size: file.size, sent: 0, phase: 'waiting', error: null, lines: [], counts };
    uploads.value = [upload, ...uploads.value];
    sources.set(id, { file, key: randomKey(), stop: new AbortController(), acknowledged: 0, nextLine: 1 });
    queue = queue.then(() => send(id));
  }
}

/** Sends the rest of a file again. */
export function retry(id: number): void {
  const source = sources.get(id);
  if (!source) return;
  source.stop = new AbortController();
  change(id, { phase: 'waiting', error: null });
  queue = queue.then(() => send(id));
}

/** Stops sending a file. If the file is already sent, removes it from the list. */
export function dismiss(id: number): void {
  const upload = uploads.value.find((each) => each.id === id);
  if (upload && isActive(upload)) return sources.get(id)?.stop.abort();
  sources.delete(id);
  uploads.value = uploads.value.filter((each) => each.id !== id);
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

async function send(id: number): Promise<void> {
  const source = sources.get(id);
  if (!source) return;
  const stop = source.stop.signal;
  if (stop.aborted) return end(id, 'stopped', null);
  change(id, { phase: 'sending' });
  const tracker = new Tracker((lines, isSettled) => {
    change(id, { lines, counts: tracker.counts() });
    const upload = uploads.peek().find((each) => each.id === id);
    if (isSettled && upload) announce(`${upload.name}: ${summary(upload)}`);
  });
  await tracker.ready;
  try {
    const error = await sendFile(id, source, tracker, stop);
    if (stop.aborted) end(id, 'stopped', 'stopped; the samples listed here are stored');
    else end(id, error ? 'broken' : 'done', error);
  } catch (error) {
    end(id, 'broken', error instanceof CsvError ? error.message : 'the file could not be read');
  }
  tracker.complete();
  refreshSoon();
}

async function sendFile(id: number, source: Source, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const { file } = source;
  if (CSV_NAME.test(file.name)) return sendTable(id, source, tracker, stop);
  const hasLines = NDJSON_NAME.test(file.name) || (await isNdjson(file));
  return hasLines ? sendLines(id, source, file, tracker, stop) : sendOne(id, source, tracker, stop);
}

async function sendTable(id: number, source: Source, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const { ndjson, badRows } = toNdjson(await textOf(source.file));
  const lines = new Blob([ndjson]);
  change(id, { size: lines.size });
  const error = await sendLines(id, source, lines, tracker, stop);
  if (error === null && !stop.aborted) tracker.add(badRows.map(({ line, message }) => toLine({ error: { message } }, line)));
  return error;
}

/** Returns the text of a file. `File.text` would replace bytes that are not UTF-8. Throws `CsvError`. */
async function textOf(file: File): Promise<string> {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new CsvError('expected text in UTF-8');
  }
}

/** Sends the parts without a response. */
async function sendLines(id: number, source: Source, file: Blob, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const earlier = uploads.peek().find((each) => each.id === id)?.lines ?? [];
  tracker.add(earlier.filter(({ number }) => number < source.nextLine));
  const headers = { 'content-type': 'application/x-ndjson', 'idempotency-key': 'content' };
  for await (const { body, start, firstLine: first } of parts(file)) {
    if (stop.aborted) return null;
    const end = start + body.size;
    if (end <= source.acknowledged) continue;
    source.nextLine = first;
    const response = await post(body, headers, (sent) => change(id, { sent: start + sent }), stop);
    if (response?.status !== 200) return reason(response);
    const receipts = response.text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Receipt);
    tracker.add(receipts.flatMap((receipt) => (receipt.line ? toLine(receipt, receipt.line + first - 1) : [])));
    const failure = receipts.find(({ line, error }) => !line && error);
    if (failure) return failure.error?.message ?? null;
    source.acknowledged = end;
    source.nextLine = Infinity; // until the next part is known
    change(id, { sent: end });
  }
  return null;
}

async function sendOne(id: number, { file, key }: Source, tracker: Tracker, stop: AbortSignal): Promise<string | null> {
  const hasKey = (await file.text()).includes('"idempotency_key"'); // the header would take precedence
  const headers = { 'content-type': 'application/json', ...(!hasKey && { 'idempotency-key': key }) };
  const response = await post(file, headers, (sent) => change(id, { sent }), stop);
  if (response?.status !== 201 && response?.status !== 422) return reason(response);
  tracker.add([toLine(JSON.parse(response.text) as Receipt, 1)]);
  return null;
}

function toLine({ id, state, problems = [], error }: Receipt, number: number): Line {
  if (error) return { number, id: null, outcome: 'NOT_STORED', problems: [{ path: '', message: error.message }] };
  return { number, id: id ?? null, outcome: state ?? 'NOT_STORED', problems };
}

function end(id: number, phase: Upload['phase'], error: string | null): void {
  if (phase === 'done') sources.delete(id);
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
  if (response === null) return 'the connection was lost; samples that are not listed here may not be stored; to store them, retry: no sample is stored twice';
  try {
    return JSON.parse(response.text).error.message;
  } catch {
    return `the server responded with status ${response.status}`;
  }
}
