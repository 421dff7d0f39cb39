// One WebSocket for all subscriptions. Pings detect a connection that broke without a close message.
//
// The client of graphql-ws must not reconnect: it would repeat the old variables, without the last cursor.
import { createClient, type Client } from 'graphql-ws';
import { ServerError, type GraphQLError } from './server.ts';
import { session, type Session } from './session.ts';

const PING_MILLISECONDS = 10_000;
const PONG_MILLISECONDS = 5_000;

let current: { session: Session | null | undefined; client: Client } | null = null;
let connected: Client | null = null; // the client whose connection the server has acknowledged

/** Returns the client for the current session. */
function client(): Client {
  if (current && current.session === session.peek()) return current.client;
  current?.client.dispose();
  let pongTimer: ReturnType<typeof setTimeout> | undefined;
  const created = createClient({
    url: `${location.protocol.replace('http', 'ws')}//${location.host}/graphql`,
    retryAttempts: 0,
    keepAlive: PING_MILLISECONDS,
    on: {
      ping: (isReceived) => {
        if (!isReceived) pongTimer = setTimeout(() => created.terminate(), PONG_MILLISECONDS);
      },
      pong: () => clearTimeout(pongTimer),
      connected: () => (connected = created),
      closed: () => {
        clearTimeout(pongTimer);
        if (connected === created) connected = null;
      },
    },
  });
  current = { session: session.peek(), client: created };
  return created;
}

interface SubscriptionHandlers<T> {
  onStart(): void;
  onData(data: T): void;
}

/** Subscribes until `signal` aborts or the connection ends. Throws `ServerError` if it ends with an error. */
export function subscribe<T>(
  query: string,
  variables: object,
  handlers: SubscriptionHandlers<T>,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const source = client();
    const removeListener = source.on('connected', () => handlers.onStart());
    if (source === connected) handlers.onStart(); // an upload that waits for results keeps the connection
    const end = (error?: ServerError) => {
      removeListener();
      if (error) reject(error);
      else resolve();
    };
    const unsubscribe = source.subscribe<{ data: T }>(
      { query, variables: variables as Record<string, unknown> },
      {
        next: ({ data, errors }) => {
          if (errors?.length) end(ServerError.of(errors as unknown as GraphQLError[]));
          else if (data) {
            handlers.onStart();
            handlers.onData(data as T);
          }
        },
        error: (reason) => end(toServerError(reason)),
        complete: () => end(),
      },
    );
    signal.addEventListener('abort', () => {
      unsubscribe();
      end();
    });
  });
}

function toServerError(reason: unknown): ServerError {
  if (Array.isArray(reason)) return ServerError.of(reason);
  if (reason instanceof CloseEvent) {
    const message = reason.reason || 'The connection was lost.';
    if (reason.code === 4401 || (reason.code === 4403 && message.startsWith('UNAUTHENTICATED'))) return new ServerError(message, 'UNAUTHENTICATED');
    if (reason.code === 4403) return new ServerError(message, 'FORBIDDEN');
    return new ServerError(message, 'UNREACHABLE');
  }
  return new ServerError('The connection was lost.', 'UNREACHABLE');
}
