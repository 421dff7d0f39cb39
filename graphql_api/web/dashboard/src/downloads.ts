// Downloads. A link cannot send the key in a header, so the page fetches the file and then saves it.
import { filter } from './filter.ts';
import { fetchFile } from './server.ts';
import type { ResultFilter } from './types.ts';

export type Format = 'csv' | 'ndjson';

/** Saves the raw document of a sample. Throws `ServerError`. */
export async function downloadSample(id: string): Promise<void> {
  save(await fetchFile(`/samples/${id}`), `${id}.json`);
}

/** Saves all results that match the filter, and returns the name of the file. Throws `ServerError`. */
export async function downloadResults(format: Format): Promise<string> {
  const search = new URLSearchParams([...parameters(filter.peek()), ['format', format]]);
  const name = `results.${format}`;
  save(await fetchFile(`/results?${search}`), name);
  return name;
}

/** Returns the filter as parameters of `GET /results`. The parameters have names in snake case. */
function parameters({ labels = [], ...ranges }: ResultFilter): [string, string][] {
  const bounds = Object.entries(ranges).flatMap(([name, range]) =>
    Object.entries(range).map(([bound, value]): [string, string] => [
      `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}.${bound}`,
      String(value),
    ]),
  );
  return [...bounds, ...labels.map(({ name, value }): [string, string] => [`label.${name}`, value])];
}

function save(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  Object.assign(document.createElement('a'), { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
