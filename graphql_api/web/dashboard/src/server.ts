// How the page asks its server: GraphQL over HTTP, each failure as an error that a reader understands.
import { key } from './key.ts';

export interface GraphQLProblem {
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

  static of(errors: readonly GraphQLProblem[]): ServerError {
    const [first] = errors;
    return new ServerError(first?.message ?? 'The server gave no reason.', first?.extensions?.code ?? 'INTERNAL');
  }

  /** Asking again will not help: the key is not good, or the question is not. */
  get isFinal(): boolean {
    return !['UNREACHABLE', 'UNAVAILABLE', 'INTERNAL', 'RATE_LIMITED', 'REQUEST_TIMEOUT'].includes(this.code);
  }

  get isAboutKey(): boolean {
    return this.code === 'UNAUTHENTICATED' || this.code === 'FORBIDDEN';
  }

  /** What is wrong with the key, for who gave it: the server tells programs how to send one. */
  get refusal(): string {
    return this.code === 'UNAUTHENTICATED' ? 'It is unknown, expired or revoked.' : this.message;
  }
}

export function headers(more: Record<string, string> = {}): Record<string, string> {
  return key.peek() ? { 'x-api-key': key.peek() as string, ...more } : more;
}

/** Returns the data of an answer without errors. Raises `ServerError`. */
export async function ask<T>(query: string, variables: object = {}): Promise<T> {
  const response = await request('/graphql', {
    method: 'POST',
    headers: headers({ accept: 'application/graphql-response+json', 'content-type': 'application/json' }),
    body: JSON.stringify({ query, variables }),
  });
  let answer: { data?: T; errors?: GraphQLProblem[] };
  try {
    answer = await response.json();
  } catch {
    throw new ServerError(`The server answered ${response.status} without JSON.`, 'UNAVAILABLE');
  }
  if (answer.errors?.length) throw ServerError.of(answer.errors);
  return answer.data as T;
}

/** Returns a file. Raises `ServerError`. */
export async function get(address: string): Promise<Blob> {
  const response = await request(address, { headers: headers() });
  if (!response.ok) throw new ServerError(`The server answered ${response.status}.`, 'UNAVAILABLE');
  try {
    return await response.blob();
  } catch {
    throw new ServerError('The connection was lost before the end of the file.', 'UNREACHABLE');
  }
}

async function request(address: string, options: RequestInit): Promise<Response> {
  try {
    return await fetch(address, options);
  } catch {
    throw new ServerError('The server does not answer.', 'UNREACHABLE');
  }
}
