// The newest samples in the selected state, if it is a state without listed results.
import { batch, effect, signal } from '@preact/signals';
import { sampleFilter, showsResults } from './filter.ts';
import samplesQuery from './operations/samples.graphql';
import { fault } from './results.ts';
import { runQuery, ServerError } from './server.ts';
import { session } from './session.ts';
import { counts } from './states.ts';
import type { ListedSample } from './types.ts';

const PAGE_SIZE = 50;
const MAX_PAGES = 10; // the server returns short pages if few samples are in the state

interface Page {
  samples: {
    edges: { node: ListedSample }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  };
}

/** The newest first. Null until the server has responded. */
export const samples = signal<readonly ListedSample[] | null>(null);
export const hasOlder = signal(false);

let size = PAGE_SIZE;
let view = 0; // increases when another list is displayed

/** Reads the samples again whenever their number changes. */
export function start(): void {
  effect(() => {
    void sampleFilter.value;
    size = PAGE_SIZE;
    samples.value = null;
    view += 1;
  });
  effect(() => {
    void sampleFilter.value;
    void counts.value;
    if (session.value && !showsResults.value) void read();
  });
}

/** Loads the next page of older samples. */
export async function loadOlder(): Promise<void> {
  size += PAGE_SIZE;
  await read();
}

async function read(): Promise<void> {
  const opened = view;
  const found: ListedSample[] = [];
  let after: string | null = null;
  let isMore = true;
  try {
    for (let page = 0; isMore && page < MAX_PAGES && found.length < size; page += 1) {
      const variables: object = { filter: sampleFilter.peek(), first: PAGE_SIZE, after };
      const response: Page = await runQuery<Page>(samplesQuery, variables);
      found.push(...response.samples.edges.map(({ node }) => node));
      after = response.samples.pageInfo.endCursor;
      isMore = response.samples.pageInfo.hasNextPage;
    }
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.isFinal && opened === view) fault.value = error.message;
    return;
  }
  if (opened !== view) return;
  batch(() => {
    samples.value = found;
    hasOlder.value = isMore;
  });
}
