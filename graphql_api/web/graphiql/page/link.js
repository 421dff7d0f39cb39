// Links to a query: `/graphql#query=…&variables=…`. Browsers do not send the fragment to servers, so logs do not contain
// the query. A link never contains a key.

/** Returns the tab of a link, or null. Removes the link from the address, so that a reload keeps the edited text. */
export function readLink() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  const query = parameters.get('query');
  if (query === null) return null;
  history.replaceState(null, '', location.pathname);
  return { query, variables: parameters.get('variables') ?? '{}' };
}
