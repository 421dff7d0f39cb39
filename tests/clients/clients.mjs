// Runs one client of GraphQL against the API at DROPZONE_URL with the key DROPZONE_API_KEY: urql and Apollo page through all
// results with their caches, graphql-ws and graphql-sse subscribe. It prints the counts of the results as JSON.

import { ApolloClient, HttpLink, InMemoryCache, gql as document } from '@apollo/client';
import { relayStylePagination } from '@apollo/client/utilities';
import { Client, fetchExchange, gql } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';
import { createClient as createEventClient } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.env.DROPZONE_URL;
const headers = { 'x-api-key': process.env.DROPZONE_API_KEY };
const pages = `query Pages($first: Int, $after: String) {
  results(orderBy: { field: COUNT }, first: $first, after: $after) {
    edges { cursor node { id count } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`;
const watch = 'subscription Watch($after: String) { results(after: $after) { cursor node { id count } } }';
const counts = (connection) => connection.edges.map((edge) => edge.node.count);

const tasks = {
  async urql() {
    const cache = cacheExchange({
      keys: { Histogram: () => null },
      resolvers: { Query: { results: relayPagination() } },
    });
    const client = new Client({ url, preferGetMethod: false, fetchOptions: { headers }, exchanges: [cache, fetchExchange] });
    let after;
    for (;;) {
      const { data, error } = await client.query(gql(pages), { first: 4, after }).toPromise();
      if (error) throw error;
      if (!data.results.pageInfo.hasNextPage) return counts(data.results);
      after = data.results.pageInfo.endCursor;
    }
  },

  async apollo() {
    const cache = new InMemoryCache({ typePolicies: { Query: { fields: { results: relayStylePagination(['orderBy']) } } } });
    const client = new ApolloClient({ link: new HttpLink({ uri: url, headers }), cache });
    const query = client.watchQuery({ query: document(pages), variables: { first: 4 } });
    const subscription = query.subscribe({ next() {} });
    let page = (await client.query({ query: document(pages), variables: { first: 4 } })).data.results;
    while (page.pageInfo.hasNextPage) {
      page = (await query.fetchMore({ variables: { after: page.pageInfo.endCursor } })).data.results;
    }
    subscription.unsubscribe();
    return counts(cache.readQuery({ query: document(pages), variables: { first: 4 } }).results);
  },

  'graphql-ws': () => replay(createSocketClient({ url: url.replace(/^http/, 'ws'), webSocketImpl: WebSocket, connectionParams: headers, retryAttempts: 0 })),
  'graphql-sse': () => replay(createEventClient({ url, headers, retryAttempts: 0 })),
};

// Returns the counts of all results after the cursor of the first result, then disposes the client.
async function replay(client) {
  const seen = [];
  for await (const { data, errors } of client.iterate({ query: watch, variables: { after: process.env.DROPZONE_CURSOR } })) {
    if (errors) throw new Error(JSON.stringify(errors));
    seen.push(data.results.node.count);
    if (seen.length === Number(process.env.DROPZONE_REST)) break;
  }
  await client.dispose();
  return seen;
}

console.log(JSON.stringify(await tasks[process.argv[2]]()));
process.exit(0);
