// Pages of samples in one state. The server ends a page after a number of samples, even if none of them is in the state.
import samplesQuery from './operations/samples.graphql';
import { runQuery } from './server.ts';
import type { ListedSample, SampleFilter } from './types.ts';

export const MAX_PAGES = 10;

const PAGE_SIZE = 50;

interface Page {
  samples: {
    edges: { node: ListedSample }[];
    pageInfo: { hasNextPage: boolean; endCursor: string | null };
  };
}

export interface Samples {
  found: readonly ListedSample[]; // the newest first
  isMore: boolean; // whether there are older samples, in any state
}

/** Reads pages until `size` samples are found, and at most `maxPages` pages. Throws `ServerError`. */
export async function readSamples(filter: SampleFilter, size: number, maxPages = MAX_PAGES): Promise<Samples> {
  const found: ListedSample[] = [];
  let after: string | null = null;
  let isMore = true;
  for (let page = 0; isMore && page < maxPages && found.length < size; page += 1) {
    const variables: object = { filter, first: Math.min(size, PAGE_SIZE), after };
    const response: Page = await runQuery<Page>(samplesQuery, variables);
    found.push(...response.samples.edges.map(({ node }) => node));
    after = response.samples.pageInfo.endCursor;
    isMore = response.samples.pageInfo.hasNextPage;
  }
  return { found, isMore };
}
