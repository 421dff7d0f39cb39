// Who is signed in. The server keeps the session, and the browser keeps its secret in a cookie that scripts cannot read.
// The page never holds a key. It sends an entered key once, in exchange for a session.
import { batch, computed, signal } from '@preact/signals';
import { compareClocks } from './clock.ts';

export interface Session {
  submitter: string;
  scopes: readonly string[];
  expires: string;
}

const LINK = '#sign-in=';
const FAILED = '#sign-in-failed';
const RETRY_MILLISECONDS = 2_000;
const tabs = new BroadcastChannel('dropzone:session'); // the cookie of the session applies to all tabs
const PAGE = { 'x-requested-with': 'dropzone' }; // no page of another origin can send it
const start = JSON.parse(document.getElementById('start')?.textContent ?? 'null') as {
  sample: string;
  provider: string | null;
} | null;

/** The text of an example sample. */
export const example = start?.sample ?? '';
/** The host of the identity provider with which users can sign in, or null. */
export const provider = start?.provider ?? null;
/** The session, null if the user is not signed in, or undefined until the server has responded. */
export const session = signal<Session | null | undefined>(undefined);
/** The reason why the server refused the session, the link or the key, or null. */
export const refusal = signal<string | null>(null);

/** Whether the user may submit samples. */
export const maySubmit = computed(() => session.value?.scopes.includes('submit') ?? false);

let submitter: string | null = null; // of the last session

/**
 * Uses the link in the address, if it is a sign-in link. Without a link, or if the server refuses it, asks the server for
 * the session: a link works once, and is often opened again. Follows other tabs.
 */
export async function open(): Promise<void> {
  tabs.onmessage = ({ data }: MessageEvent<Session | null>) => {
    if (refusal.peek() !== null || JSON.stringify(data) !== JSON.stringify(session.peek())) change(data);
  };
  const { hash } = location;
  if (hash.startsWith(LINK) || hash === FAILED) history.replaceState(null, '', location.pathname + location.search);
  if (!hash.startsWith(LINK)) {
    change(await untilResponse('GET'));
    if (hash === FAILED) refusal.value = 'The sign-in at the identity provider failed.';
    return;
  }
  const body = JSON.stringify({ token: hash.slice(LINK.length) });
  const started = await untilResponse('POST', { 'content-type': 'application/json' }, body);
  if (started) return change(started);
  const reason = refusal.peek();
  refusal.value = null; // until it is known that the browser has no session
  const next = await untilResponse('GET');
  change(next);
  if (next === null) refusal.value = reason;
}

/** Sends a request until the server responds. An outage does not end the session. */
async function untilResponse(...parameters: Parameters<typeof request>): Promise<Session | null> {
  for (;;) {
    const next = await request(...parameters);
    if (next !== undefined) return next;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

/** Exchanges a key for a session. */
export async function signIn(key: string): Promise<void> {
  change((await request('POST', { 'x-api-key': key })) ?? null);
}

export async function signOut(): Promise<void> {
  await request('DELETE');
  if (refusal.value !== null) refusal.value = `You are still signed in. ${refusal.value} Reload the page and sign out again.`;
  change(null);
}

function change(next: Session | null): void {
  if (next === null) {
    session.value = null;
    return;
  }
  const isSame = submitter === null || submitter === next.submitter;
  submitter = next.submitter;
  batch(() => {
    refusal.value = null;
    session.value = isSame ? next : undefined;
  });
  if (!isSame) location.reload(); // nothing of the previous submitter remains, such as files that were not sent
}

/** Returns the session, null if there is none or the server refused the request, or undefined if a retry can help. */
async function request(
  method: string,
  headers: Record<string, string> = {},
  body: string | null = null,
): Promise<Session | null | undefined> {
  try {
    const response = await fetch('/session', { method, headers: { ...PAGE, ...headers }, body });
    compareClocks(response);
    const answer = await response.json();
    if (response.ok) {
      const next = answer.submitter === null ? null : answer;
      refusal.value = null;
      tabs.postMessage(next);
      return next;
    }
    const isKeyRefused = headers['x-api-key'] !== undefined && response.status === 401;
    refusal.value = isKeyRefused ? 'The key is unknown, expired or revoked.' : sentence(answer.error.message);
    return response.status === 429 || response.status >= 500 ? undefined : null;
  } catch {
    refusal.value = 'The server does not respond.';
    return undefined;
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
