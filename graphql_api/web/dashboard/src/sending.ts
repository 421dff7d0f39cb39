// Sends a file with progress. It uses XMLHttpRequest, because fetch does not report how much of a body was sent.
//
// A browser reads the response only after it has sent the whole body. The server stops reading lines while too many
// responses wait. NDJSON files are therefore sent in parts. The first parts are short, so that the page shows the outcomes
// of the first lines early.
import { headers } from './server.ts';

const FIRST_PART_BYTES = 64 * 1024;
const MAX_PART_BYTES = 1024 * 1024;
const NEWLINE = 10;

interface Part {
  body: Blob;
  start: number; // the offset of the part in the file, in bytes
  firstLine: number;
}

/**
 * Splits a file at line ends. A part is twice as long as the one before, up to `MAX_PART_BYTES`. A line that is longer than
 * the size of a part becomes a separate part.
 */
export async function* parts(file: Blob): AsyncGenerator<Part> {
  let start = 0;
  let firstLine = 1;
  let size = FIRST_PART_BYTES;
  while (start < file.size) {
    let end = start;
    let cut = -1;
    let lines = 0;
    while (cut < 0 && end < file.size) {
      const read = new Uint8Array(await file.slice(end, end + size).arrayBuffer());
      const last = read.lastIndexOf(NEWLINE);
      if (last >= 0) cut = end + last + 1;
      for (let at = read.indexOf(NEWLINE); at >= 0; at = read.indexOf(NEWLINE, at + 1)) lines += 1;
      end += read.length;
    }
    if (cut < 0 || end >= file.size) cut = file.size;
    yield { body: file.slice(start, cut), start, firstLine };
    start = cut;
    firstLine += lines;
    size = Math.min(2 * size, MAX_PART_BYTES);
  }
}

export interface PostResponse {
  status: number;
  text: string;
}

/** Returns an idempotency key. `crypto.randomUUID` exists only on pages that were loaded over TLS or from this machine. */
export function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Posts a body and returns the response, or null if the connection was lost or `signal` aborted. */
export function post(
  body: Blob,
  more: Readonly<Record<string, string>>,
  onSent: (bytes: number) => void,
  signal: AbortSignal,
): Promise<PostResponse | null> {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.upload.onprogress = ({ loaded }) => onSent(Math.min(loaded, body.size));
    request.onload = () => resolve({ status: request.status, text: request.responseText });
    request.onerror = request.onabort = () => resolve(null);
    request.onloadend = () => signal.removeEventListener('abort', abort);
    request.open('POST', '/samples');
    for (const [name, value] of Object.entries(headers(more))) request.setRequestHeader(name, value);
    signal.addEventListener('abort', abort);
    request.send(body);
  });
}
