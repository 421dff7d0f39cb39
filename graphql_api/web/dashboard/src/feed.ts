// Results without a gap: first those that are there, then those that come, over any number of disconnects.
//
// The trap is the seam. A place to start from is taken first, what is stored is read after it, and everything
// behind that place is then replayed, so that what was written meanwhile comes twice rather than never; whoever
// takes the results knows them by id and time. From then on each attempt goes on behind the last cursor.
import startQuery from './operations/start.graphql';
import watchQuery from './operations/watch.graphql';
import { ask, ServerError } from './server.ts';
import { watch } from './socket.ts';
import type { Result, ResultEdge, ResultFilter } from './types.ts';

const MIN_WAIT = 250;
const MAX_WAIT = 8_000;

export type FeedState = { name: 'connecting' } | { name: 'live' } | { name: 'waiting'; reason: string };

export interface Reader {
  /** Reads what is stored. It is called again where nothing was stored at all when the connection was lost. */
  load(): Promise<void>;
  onResult(result: Result): void;
  onState(state: FeedState): void;
  onRefused(error: ServerError): void;
}

/** Reads until `signal` says stop, from behind `cursor` where there is one. */
export async function follow(
  reader: Reader,
  filter: ResultFilter,
  signal: AbortSignal,
  cursor: string | null = null,
): Promise<void> {
  let isLoaded = cursor !== null;
  let failures = 0;
  while (!signal.aborted) {
    if (failures === 0) reader.onState({ name: 'connecting' });
    try {
      if (!isLoaded || cursor === null) {
        cursor ??= await latestCursor();
        await reader.load();
        isLoaded = true;
      }
      if (signal.aborted) return;
      const onStart = () => {
        failures = 0;
        if (!signal.aborted) reader.onState({ name: 'live' });
      };
      const onData = ({ results }: { results: ResultEdge }) => {
        cursor = results.cursor;
        if (!signal.aborted) reader.onResult(results.node);
      };
      await watch<{ results: ResultEdge }>(watchQuery, { filter, after: cursor }, { onStart, onData }, signal);
      if (signal.aborted) return;
      throw new ServerError('The server ended the connection.', 'UNAVAILABLE');
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServerError)) throw error;
      if (error.isFinal) return reader.onRefused(error);
      reader.onState({ name: 'waiting', reason: sentence(error.message) });
      await pause(Math.min(MIN_WAIT * 2 ** failures++, MAX_WAIT), signal);
    }
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;
}

async function latestCursor(): Promise<string | null> {
  const { results } = await ask<{ results: { edges: { cursor: string }[] } }>(startQuery);
  return results.edges[0]?.cursor ?? null;
}

/** Waits a random part of the time, so that not all readers come back at once; less where the network is back. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener('online', end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds * (0.5 + Math.random() / 2));
    addEventListener('online', end);
    signal.addEventListener('abort', end);
  });
}
