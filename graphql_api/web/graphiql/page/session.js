// The session of the page. Each function returns `{ session, refusal }`: the session or null, and why it was refused.
const LINK = '#sign-in=';
const tabs = new BroadcastChannel('dropzone:session'); // the cookie of the session applies to all tabs
const PAGE = { 'x-requested-with': 'dropzone' }; // no page of another origin can send it

/**
 * Uses the link in the address, if it is a sign-in link. Without a link, or if the server refuses it, asks the server for
 * the session: a link works once, and is often opened again.
 */
export async function openSession() {
  if (!location.hash.startsWith(LINK)) return readSession();
  const token = location.hash.slice(LINK.length);
  history.replaceState(null, '', location.pathname);
  const started = await request('POST', { 'content-type': 'application/json' }, JSON.stringify({ token }));
  if (started.session) return started;
  const { session } = await readSession();
  return session ? { session, refusal: null } : started;
}

export const readSession = () => request('GET');

/** Exchanges the key in the headers for a session. */
export const startSession = (headers) => request('POST', headers);

export const endSession = () => request('DELETE');

/** Calls `onChange` when another tab signs in or out. */
export function followTabs(onChange) {
  tabs.onmessage = ({ data }) => onChange({ session: data, refusal: null });
}

async function request(method, headers = {}, body = undefined) {
  try {
    const response = await fetch('/session', { method, headers: { ...PAGE, ...headers }, body });
    const answer = await response.json();
    if (response.ok) {
      const session = answer.submitter === null ? null : answer;
      tabs.postMessage(session);
      return { session, refusal: null };
    }
    return { session: null, refusal: answer.error.message };
  } catch {
    return { session: null, refusal: `${location.host} does not respond` };
  }
}
