// A stream of results without gaps: first the stored results, then new results. It survives any number of disconnects.
//
// The stream requests the newest cursor, then reads the stored results, and then subscribes after that cursor. A result
// that is written between these steps can arrive twice but is never lost. Consumers recognize a repeated result by its
// id and time. Each reconnect resumes after the last cursor. If no result is stored, the cursor is empty, and the
// subscription starts with the first result.
import { retention, type Retention } from './components/retention.tsx';
import { sentence } from './format.ts';
import removalsQuery from './operations/removals.graphql';
import startQuery from './operations/start.graphql';
import { watchQuery } from './queries.ts';
import { runQuery, ServerError } from './server.ts';
import { subscribe } from './socket.ts';
import type { Removal, RemovalEdge, Result, ResultEdge, ResultFilter } from './types.ts';

const MIN_WAIT_MILLISECONDS = 250;
const MAX_WAIT_MILLISECONDS = 8_000;

export type ConnectionState = { name: 'connecting' } | { name: 'live' } | { name: 'waiting'; reason: string };

export interface StreamHandlers {
  /** Reads the stored results. */
  load(): Promise<void>;
  onResult(result: Result): void;
  /**
   * Receives a sample that was deleted or superseded. It can arrive before an earlier result of the sample, because
   * results have a subscription of their own. Without this handler, the stream does not request removals.
   */
  onRemoval?(removal: Removal): void;
  onState(state: ConnectionState): void;
  onRefused(error: ServerError): void;
}

/** Streams results until `signal` aborts. */
export async function streamResults(handlers: StreamHandlers, filter: ResultFilter, signal: AbortSignal): Promise<void> {
  let isLoaded = false;
  let cursor: string | null = null;
  let removalCursor: string | null = null;
  let failures = 0;
  while (!signal.aborted) {
    if (failures === 0) handlers.onState({ name: 'connecting' });
    try {
      if (!isLoaded) {
        cursor ??= await newestCursor();
        await handlers.load();
        isLoaded = true;
      }
      if (signal.aborted) return;
      let isLive = false;
      const onStart = () => {
        if (isLive || signal.aborted) return;
        isLive = true;
        failures = 0;
        handlers.onState({ name: 'live' });
      };
      const onData = ({ results }: { results: ResultEdge }) => {
        cursor = results.cursor;
        if (!signal.aborted) handlers.onResult(results.node);
      };
      const both = new AbortController(); // the end of one subscription ends the other one
      const subscriptions = [
        subscribe<{ results: ResultEdge }>(watchQuery, { filter, after: cursor }, { onStart, onData }, both.signal),
      ];
      if (handlers.onRemoval) {
        removalCursor ??= cursor || null; // without a result, the page displays nothing that can be removed
        const onRemoval = ({ removals }: { removals: RemovalEdge }) => {
          removalCursor = removals.cursor;
          if (!signal.aborted) handlers.onRemoval?.(removals.node);
        };
        const after = { after: removalCursor };
        subscriptions.push(
          subscribe<{ removals: RemovalEdge }>(removalsQuery, after, { onStart, onData: onRemoval }, both.signal),
        );
      }
      const abort = () => both.abort();
      signal.addEventListener('abort', abort);
      try {
        await Promise.race(subscriptions);
      } finally {
        signal.removeEventListener('abort', abort);
        abort();
      }
      if (signal.aborted) return;
      throw new ServerError('The server closed the connection.', 'UNAVAILABLE');
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServerError)) throw error;
      if (error.isFinal) return handlers.onRefused(error);
      handlers.onState({ name: 'waiting', reason: sentence(error.message) });
      await wait(Math.min(MIN_WAIT_MILLISECONDS * 2 ** failures++, MAX_WAIT_MILLISECONDS), signal);
    }
  }
}

async function newestCursor(): Promise<string> {
  const { results, retention: kept } = await runQuery<{
    results: { edges: { cursor: string }[] };
    retention: Retention;
  }>(startQuery);
  retention.value = kept;
  return results.edges[0]?.cursor ?? '';
}

/** Waits for a random part of the time, so that clients reconnect at different times. Ends early when the network is back. */
function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
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
