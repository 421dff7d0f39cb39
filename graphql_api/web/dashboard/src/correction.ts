// The correction of a sample: another sample replaces it. A correction needs the scope `submit`.
import { computed } from '@preact/signals';
import { announce } from './announcements.ts';
import { shortId } from './format.ts';
import { selectedId } from './selection.ts';
import { post, randomKey } from './sending.ts';
import { fetchFile, ServerError } from './server.ts';
import { session } from './session.ts';
import { refreshSoon } from './states.ts';
import type { Problem } from './types.ts';

export const MAX_EDITED_BYTES = 200_000;
export const isAllowed = computed(() => session.value?.scopes.includes('submit') ?? false);

/** Returns the document of a sample as text. Throws `ServerError`. */
export async function readDocument(id: string): Promise<string> {
  return (await fetchFile(`/samples/${id}`)).text();
}

/** A correction with one idempotency key per text, so that a repeated request stores the text once. */
export class Correction {
  #key = '';
  #text = '';

  constructor(private readonly id: string) {}

  /** Submits the new version. Returns its problems, or an empty list if it has replaced the sample. Throws `ServerError`. */
  async submit(text: string): Promise<readonly Problem[]> {
    if (text !== this.#text || this.#key === '') [this.#text, this.#key] = [text, randomKey()];
    const headers = { 'content-type': 'application/json', 'x-supersedes': this.id, 'idempotency-key': this.#key };
    const response = await post(new Blob([text]), headers, () => {}, new AbortController().signal);
    if (!response) throw new ServerError('The server does not respond.', 'UNREACHABLE');
    const receipt = parse(response.text);
    if (receipt.error || !receipt.id) {
      throw new ServerError(receipt.error?.message ?? `The server responded with status ${response.status}.`, 'UNAVAILABLE');
    }
    refreshSoon();
    if (receipt.state === 'REJECTED') return receipt.problems ?? [];
    selectedId.value = receipt.id;
    announce(`The sample ${shortId(this.id)} is corrected.`);
    return [];
  }
}

interface Receipt {
  id?: string;
  state?: string;
  problems?: Problem[];
  error?: { message: string };
}

function parse(text: string): Receipt {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
