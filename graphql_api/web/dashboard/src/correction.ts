// The correction of a sample: another sample replaces it. A correction needs the scope `submit`.
import { announce } from './announcements.ts';
import { shortId } from './format.ts';
import { selectedId } from './selection.ts';
import { post, randomKey } from './sending.ts';
import { fetchFile, ServerError, type GraphQLError } from './server.ts';
import { refreshSoon } from './states.ts';
import type { Label, Problem, Sample } from './types.ts';

export const MAX_EDITED_BYTES = 200_000;

/** The edited texts by the id of the sample. If a session ends, the editor disappears, and its text stays here. */
const drafts = new Map<string, string>();

/** A correction with one idempotency key per text, so that a repeated request stores the text once. */
export class Correction {
  /** The labels of the sample that its document does not contain. They came with its request, and the correction keeps them. */
  labels: readonly Label[] = [];
  #key = '';
  #text = '';

  constructor(private readonly sample: Pick<Sample, 'id' | 'labels'>) {}

  /** The edited text, or undefined if the user has not edited it. */
  get draft(): string | undefined {
    return drafts.get(this.sample.id);
  }

  set draft(text: string | undefined) {
    if (text === undefined) drafts.delete(this.sample.id);
    else drafts.set(this.sample.id, text);
  }

  /** Returns the document of the sample as text. Call it before `submit`. Throws `ServerError`. */
  async read(): Promise<string> {
    const text = await (await fetchFile(`/samples/${this.sample.id}`)).text();
    const { labels } = parse<{ labels?: Record<string, string> }>(text);
    this.labels = this.sample.labels.filter(({ name }) => labels?.[name] === undefined);
    return text;
  }

  /** Submits the new version. Returns its problems, or an empty list if it has replaced the sample. Throws `ServerError`. */
  async submit(text: string): Promise<readonly Problem[]> {
    const { id } = this.sample;
    if (text !== this.#text || this.#key === '') [this.#text, this.#key] = [text, randomKey()];
    const headers = {
      'content-type': 'application/json',
      'x-supersedes': id,
      'idempotency-key': this.#key,
      ...Object.fromEntries(this.labels.map(({ name, value }) => [`x-label-${name.replaceAll('_', '-')}`, inUtf8(value)])),
    };
    const response = await post(new Blob([text]), headers, () => {}, new AbortController().signal);
    if (!response) throw new ServerError('The server does not respond.', 'UNREACHABLE');
    const receipt = parse<Receipt>(response.text);
    if (receipt.error) throw ServerError.of([receipt.error]);
    if (!receipt.id) throw new ServerError(`The server responded with status ${response.status}.`, 'UNAVAILABLE');
    refreshSoon();
    if (receipt.state === 'REJECTED') return receipt.problems ?? [];
    selectedId.value = receipt.id;
    announce(`The sample ${shortId(id)} is corrected.`);
    return [];
  }
}

interface Receipt {
  id?: string;
  state?: string;
  problems?: Problem[];
  error?: GraphQLError;
}

function parse<T extends object>(text: string): Partial<T> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** Returns a text with a character for each byte of its UTF-8 form. A browser sends each character of a header as one byte. */
function inUtf8(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
