// A query that another page leads to: `/graphql#query=…&variables=…`. A fragment is not sent to any server, so it is
// in no log; the key is never in it.

/** Returns the tab that the address asks for, or null, and takes it out of the address: a reload keeps what was edited. */
export function takeLinked() {
  const given = new URLSearchParams(location.hash.slice(1));
  const query = given.get('query');
  if (query === null) return null;
  history.replaceState(null, '', location.pathname);
  return { query, variables: given.get('variables') ?? '{}' };
}
