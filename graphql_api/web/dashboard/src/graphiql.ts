// The address of GraphiQL with a query and its variables in the fragment. Browsers do not send the fragment to servers.
export function graphiql(query: string, variables: object): string {
  const parameters = new URLSearchParams({ query, variables: JSON.stringify(variables, null, 2) });
  return `/graphql#${parameters}`;
}
