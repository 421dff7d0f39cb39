// Submitted files, with the outcomes of their samples. The page sends one file after another.
//
// The server derives an idempotency key from the bytes of each sample. If a file is submitted again, each sample is therefore
// stored once. If the connection breaks, a retry sends only the parts without a response.
import { effect, signal, untracked } from '@preact/signals';
import { announce } from './announcements.ts';
import { CsvError, toNdjson } from './csv.ts';
import { integer } from './format.ts';
import { parts, post, type PostResponse } from './sending.ts';
import { ServerError, type GraphQLError } from './server.ts';
import { session } from './session.ts';
import { refreshSoon } from './states.ts';
import { Tracker, type Counts, type Line } from './tracking.ts';
import type { Problem, SampleState } from './types.ts';

const NDJSON_NAME = /\.(ndjson|jsonl|jsonlines)$/i;
const CSV_NAME = /\.(csv|txt)$/i;
const SPREADSHEET_MAGIC = [0x504b0304, 0xd0cf11e0]; // a ZIP archive (.xlsx, .ods) or a compound file (.xls)
const COMPRESSED_MAGIC = [0x1f8b0800, 0x1f8b0808, 0x28b52ffd]; // gzip, without and with the name of the file, and zstd
const BYTE_ORDER_MARK = 0xefbbbf; // some Windows programs start a file in UTF-8 with it, and the server refuses it
const SNIFFED_BYTES = 1024 * 1024;
const BY_CONTENT = { 'idempotency-key': 'content' }; // does not replace the keys that samples contain

export interface Upload {
  id: number;
  name: string;
  size: number;
  processed: number; // the bytes that are sent, or read before they are sent
  phase: 'waiting' | 'reading' | 'sending' | 'done' | 'broken' | 'refused' | 'stopped'; // a retry can help a broken one
  error: string | null;
  lines: readonly Line[];
  counts: Counts;
}

/** What a retry needs. */
interface Source {
  file: File;
  stop: AbortController; // a retry has another one
  acknowledged: number; // the bytes of the parts that have a complete response
  nextLine: number; // the first line of the other parts
}

interface Receipt {
  line?: number;
  id?: string;
  state?: SampleState;
  problems?: Problem[];
  error?: GraphQLError;
}

export const uploads = signal<readonly Upload[]>([]); // the newest first

let lastId = 0;
let queue = Promise.resolve();
const sources = new Map<number, Source>();
const trackers = new Map<number, Tracker>();

/** Stops sending when the session ends: another user may sign in. Asks before the user leaves the page while it sends. */
export function start(): void {
  effect(() => {
    if (!session.value) untracked(() => [...sources.keys()].forEach(stopSending));
  });
  addEventListener('beforeunload', (event) => {
    if (session.peek() && uploads.peek().some(isActive)) event.preventDefault();
  });
}

/** Submits files, one after another. */
export function submit(files: Iterable<File>): void {
  for (const file of files) {
    const id = ++lastId;
    const counts = { PENDING: 0, COMPUTED: 0, SUPERSEDED: 0, FAILED: 0, REJECTED: 0, DELETED: 0, NOT_STORED: 0 };
    const upload: Upload = { id, name: file.name, size: file.size, processed: 0, phase: 'waiting', error: null, lines: [], counts };
    uploads.value = [upload, ...uploads.value];
    enqueue(id, { file, stop: new AbortController(), acknowledged: 0, nextLine: 1 });
  }
}

/** Sends the rest of a file again. */
export function retry(id: number): void {
  const source = sources.get(id);
  if (!source) return;
  change(id, { phase: 'waiting', error: null });
  enqueue(id, { ...source, stop: new AbortController() });
}

/** Stops sending a file. If the file is already sent, removes it from the list. */
export function dismiss(id: number): void {
  const upload = uploads.value.find((each) => each.id === id);
  if (upload && isActive(upload)) return stopSending(id);
  sources.delete(id);
  trackers.get(id)?.stop();
  trackers.delete(id);
  uploads.value = uploads.value.filter((each) => each.id !== id);
}

export const isActive = ({ phase }: Upload): boolean => ['waiting', 'reading', 'sending'].includes(phase);

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

function enqueue(id: number, source: Source): void {
  sources.set(id, source);
  queue = queue.then(() => send(id, source));
}

/** Stops sending a file. One that waits for others is stopped at once. */
function stopSending(id: number): void {
  sources.get(id)?.stop.abort();
  if (uploads.value.some((each) => each.id === id && each.phase === 'waiting')) end(id, 'stopped', null);
}

async function send(id: number, source: Source): Promise<void> {
  const stop = source.stop.signal;
  if (stop.aborted) return;
  change(id, { phase: 'sending' });
  const tracker = new Tracker((lines, isSettled) => {
    change(id, { lines, counts: tracker.counts() });
    const upload = uploads.peek().find((each) => each.id === id);
    if (isSettled && upload) announce(`${upload.name}: ${summary(upload)}`);
  });
  trackers.get(id)?.stop(); // the new one also tracks the lines of the attempt before
  trackers.set(id, tracker);
  await tracker.ready;
  const earlier = uploads.peek().find((each) => each.id === id)?.lines ?? [];
  tracker.add(earlier.filter(({ number }) => number < source.nextLine));
  try {
    await sendFile(id, source, tracker, stop);
    if (!stop.aborted) end(id, 'done', null);
  } catch (error) {
    if (!stop.aborted) end(id, ...fault(error));
  }
  if (stop.aborted) end(id, 'stopped', tracker.lines.length > 0 ? 'stopped; the samples listed here are stored' : null);
  tracker.complete();
  refreshSoon();
}

/** Returns whether a retry can help, and what went wrong. A file that has changed since it was chosen cannot be read. */
function fault(error: unknown): ['broken' | 'refused', string] {
  if (error instanceof CsvError) return ['refused', error.message];
  if (!(error instanceof ServerError)) return ['refused', 'the file could not be read; if it has changed, choose it again'];
  return [error.isFinal && error.code !== 'UNAUTHENTICATED' ? 'refused' : 'broken', error.message];
}

/** Sends a file. Throws `CsvError` or `ServerError`, or the error of the browser if the file cannot be read. */
async function sendFile(id: number, source: Source, tracker: Tracker, stop: AbortSignal): Promise<void> {
  const { name } = source.file;
  const start = await startOf(source.file);
  if (SPREADSHEET_MAGIC.includes(start)) throw new CsvError('expected JSON, NDJSON or CSV; save a spreadsheet as CSV in UTF-8');
  if (COMPRESSED_MAGIC.includes(start)) throw new CsvError('expected a file that is not compressed; decompress it first');
  if (CSV_NAME.test(name)) return sendTable(id, source, tracker, stop);
  const content = start >>> 8 === BYTE_ORDER_MARK ? source.file.slice(3) : source.file;
  const hasLines = NDJSON_NAME.test(name) || (await isNdjson(content));
  return hasLines ? sendLines(id, source, content, tracker, stop) : sendOne(id, content, tracker, stop);
}

async function sendTable(id: number, source: Source, tracker: Tracker, stop: AbortSignal): Promise<void> {
  change(id, { phase: 'reading', processed: 0, size: source.file.size });
  const { ndjson, badRows } = await toNdjson(source.file, (processed) => change(id, { processed }), stop);
  change(id, { phase: 'sending', processed: source.acknowledged, size: ndjson.size });
  await sendLines(id, source, ndjson, tracker, stop);
  if (!stop.aborted) tracker.add(badRows.map(({ line, message }) => toLine({ error: { message } }, line)));
}

/** Sends the parts without a response. */
async function sendLines(id: number, source: Source, file: Blob, tracker: Tracker, stop: AbortSignal): Promise<void> {
  const headers = { 'content-type': 'application/x-ndjson', ...BY_CONTENT };
  for await (const { body, start, firstLine: first } of parts(file)) {
    if (stop.aborted) return;
    const end = start + body.size;
    if (end <= source.acknowledged) continue;
    source.nextLine = first;
    const response = await post(body, headers, (sent) => change(id, { processed: start + sent }), stop);
    if (response?.status !== 200) throw reason(response);
    const receipts = response.text.split('\n').filter(Boolean).map((line) => JSON.parse(line) as Receipt);
    tracker.add(receipts.flatMap((receipt) => (receipt.line ? toLine(receipt, receipt.line + first - 1) : [])));
    const failure = receipts.find(({ line, error }) => !line && error);
    if (failure?.error) throw ServerError.of([failure.error]);
    source.acknowledged = end;
    source.nextLine = Infinity; // until the next part is known
    change(id, { processed: end });
  }
}

async function sendOne(id: number, file: Blob, tracker: Tracker, stop: AbortSignal): Promise<void> {
  const headers = { 'content-type': 'application/json', ...BY_CONTENT };
  const response = await post(file, headers, (processed) => change(id, { processed }), stop);
  if (response?.status !== 201 && response?.status !== 422) throw reason(response);
  tracker.add([toLine(JSON.parse(response.text) as Receipt, 1)]);
}

function toLine({ id, state, problems = [], error }: Receipt, number: number): Line {
  if (error) return { number, id: null, outcome: 'NOT_STORED', problems: [{ path: '', message: error.message }] };
  return { number, id: id ?? null, outcome: state ?? 'NOT_STORED', problems };
}

function end(id: number, phase: Upload['phase'], error: string | null): void {
  if (phase === 'done' || phase === 'refused') sources.delete(id);
  change(id, { phase, error });
}

function change(id: number, changes: Partial<Upload>): void {
  uploads.value = uploads.value.map((upload) => (upload.id === id ? { ...upload, ...changes } : upload));
}

/** Returns the first four bytes of a file as an integer, or 0 if it is shorter. */
async function startOf(file: File): Promise<number> {
  const start = await file.slice(0, 4).arrayBuffer();
  return start.byteLength === 4 ? new DataView(start).getUint32(0) : 0;
}

/** Returns whether a file has one sample per line. Otherwise it has one sample, on one or more lines. */
async function isNdjson(file: Blob): Promise<boolean> {
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

function reason(response: PostResponse | null): ServerError {
  if (response === null) {
    const text = 'the connection was lost; samples that are not listed here may not be stored; to store them, retry: no sample is stored twice';
    return new ServerError(text, 'UNREACHABLE');
  }
  try {
    return ServerError.of([JSON.parse(response.text).error]);
  } catch {
    return new ServerError(`the server responded with status ${response.status}`, 'UNAVAILABLE');
  }
}
