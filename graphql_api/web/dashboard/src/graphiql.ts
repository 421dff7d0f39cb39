// The way to GraphiQL, with a query and its variables in the fragment, which no server and no log gets to see.
export function graphiql(query: string, variables: object): string {
  const given = new URLSearchParams({ query, variables: JSON.stringify(variables, null, 2) });
  return `/graphql#${given}`;
}
