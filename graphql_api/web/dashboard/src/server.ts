// Requests to the server: GraphQL over HTTP, and files. Each failure is an error with a message for users.
import { compareClocks } from './clock.ts';
import { sentence } from './format.ts';

export interface GraphQLError {
  message: string;
  extensions?: { code?: string };
}

export class ServerError extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }

  static of(errors: readonly GraphQLError[]): ServerError {
    const [first] = errors;
    return new ServerError(first?.message ?? 'The server returned an error.', first?.extensions?.code ?? 'INTERNAL');
  }

  /** Whether a retry would fail too, because the session or the request is invalid. */
  get isFinal(): boolean {
    return !['UNREACHABLE', 'UNAVAILABLE', 'INTERNAL', 'RATE_LIMITED', 'REQUEST_TIMEOUT', 'TOO_SLOW'].includes(this.code);
  }

  get isAboutSession(): boolean {
    return this.code === 'UNAUTHENTICATED' || this.code === 'FORBIDDEN';
  }

  /** The message for users. If the session was refused, it replaces the server's message, which is for programmers. */
  get refusal(): string {
    return this.code === 'UNAUTHENTICATED' ? 'The session has ended.' : sentence(this.message);
  }
}

export function headers(more: Record<string, string> = {}): Record<string, string> {
  return { 'x-requested-with': 'dropzone', ...more }; // no page of another origin can send it
}

/** Returns the data of a query. Throws `ServerError`. */
export async function runQuery<T>(
  query: string,
  variables: object = {},
  { allowsMissing = false, signal = null }: { allowsMissing?: boolean; signal?: AbortSignal | null } = {},
): Promise<T> {
  const response = await request('/graphql', {
    method: 'POST',
    headers: headers({ accept: 'application/graphql-response+json', 'content-type': 'application/json' }),
    body: JSON.stringify({ query, variables }),
    signal,
  });
  let body: { data?: T; errors?: GraphQLError[] };
  try {
    body = await response.json();
  } catch {
    throw new ServerError(`The server responded with status ${response.status} and without JSON.`, 'UNAVAILABLE');
  }
  const errors = body.errors?.filter(({ extensions }) => !(allowsMissing && extensions?.code === 'NOT_FOUND'));
  if (errors?.length) throw ServerError.of(errors);
  return body.data as T;
}

/** Returns a file. Throws `ServerError`. */
export async function fetchFile(address: string): Promise<Blob> {
  const response = await request(address, { headers: headers() });
  if (!response.ok) throw await toError(response);
  try {
    return await response.blob();
  } catch {
    throw new ServerError('The connection was lost before the end of the file.', 'UNREACHABLE');
  }
}

/** Sends a request without a body to an endpoint that responds without a body. Throws `ServerError`. */
export async function send(method: string, address: string): Promise<void> {
  const response = await request(address, { method, headers: headers() });
  if (!response.ok) throw await toError(response);
}

async function toError(response: Response): Promise<ServerError> {
  const body = (await response.json().catch(() => ({}))) as { error?: GraphQLError };
  if (body.error) return ServerError.of([body.error]);
  return new ServerError(`The server responded with status ${response.status}.`, 'UNAVAILABLE');
}

async function request(address: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new ServerError('The server does not respond.', 'UNREACHABLE');
  }
  compareClocks(response);
  return response;
}
