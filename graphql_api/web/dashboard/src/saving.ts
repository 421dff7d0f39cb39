// Files to take away. A link would have to carry the key, so they are fetched and then saved.
import { filter } from './filter.ts';
import { get } from './server.ts';
import type { ResultFilter } from './types.ts';

export type Format = 'csv' | 'ndjson';

/** Saves the raw document of a sample. Raises `ServerError`. */
export async function saveRaw(id: string): Promise<void> {
  save(await get(`/samples/${id}`), `${id}.json`);
}

/** Saves all results that pass the filter. Raises `ServerError`. */
export async function saveResults(format: Format): Promise<void> {
  save(await get(`/results?${new URLSearchParams([...parameters(filter.peek()), ['format', format]])}`), `results.${format}`);
}

/** The filter as `GET /results` takes it: names are those of the stored documents. */
function parameters(wanted: ResultFilter): [string, string][] {
  return Object.entries(wanted).flatMap(([name, range]) =>
    Object.entries(range).map(([limit, value]): [string, string] => [
      `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}.${limit}`,
      String(value),
    ]),
  );
}

function save(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  Object.assign(document.createElement('a'), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
