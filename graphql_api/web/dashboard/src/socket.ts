// One WebSocket for all that is watched. A connection that is dead without saying so is found by pings.
//
// The client never connects again by itself: it would ask for the same again, without the last cursor.
import { createClient, type Client } from 'graphql-ws';
import { key } from './key.ts';
import { ServerError, type GraphQLProblem } from './server.ts';

const PING_MILLISECONDS = 10_000;
const PONG_MILLISECONDS = 5_000;

let current: { key: string | null; client: Client } | null = null;

function client(): Client {
  if (current?.key === key.peek()) return current.client;
  current?.client.dispose();
  let late: ReturnType<typeof setTimeout> | undefined;
  const made = createClient({
    url: `${location.protocol.replace('http', 'ws')}//${location.host}/graphql`,
    connectionParams: { 'x-api-key': key.peek() },
    retryAttempts: 0,
    keepAlive: PING_MILLISECONDS,
    on: {
      ping: (received) => {
        if (!received) late = setTimeout(() => made.terminate(), PONG_MILLISECONDS);
      },
      pong: () => clearTimeout(late),
      closed: () => clearTimeout(late),
    },
  });
  current = { key: key.peek(), client: made };
  return made;
}

export interface Watched<T> {
  onStart(): void;
  onData(data: T): void;
}

/** Watches until `signal` says stop, or the connection ends. Raises `ServerError` where it ends with an error. */
export function watch<T>(query: string, variables: object, watched: Watched<T>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const source = client();
    const stopStart = source.on('connected', () => watched.onStart());
    const end = (error?: ServerError) => {
      stopStart();
      if (error) reject(error);
      else resolve();
    };
    const unsubscribe = source.subscribe<{ data: T }>(
      { query, variables: variables as Record<string, unknown> },
      {
        next: ({ data, errors }) => {
          if (errors?.length) end(ServerError.of(errors as unknown as GraphQLProblem[]));
          else if (data) {
            watched.onStart();
            watched.onData(data as T);
          }
        },
        error: (reason) => end(readable(reason)),
        complete: () => end(),
      },
    );
    signal.addEventListener('abort', () => {
      unsubscribe();
      end();
    });
  });
}

function readable(reason: unknown): ServerError {
  if (Array.isArray(reason)) return ServerError.of(reason);
  if (reason instanceof CloseEvent) {
    const said = reason.reason || 'The connection was lost.';
    if (reason.code === 4401) return new ServerError(said, 'UNAUTHENTICATED');
    if (reason.code === 4403) return new ServerError(said, 'FORBIDDEN');
    return new ServerError(said, 'UNREACHABLE');
  }
  return new ServerError('The connection was lost.', 'UNREACHABLE');
}
