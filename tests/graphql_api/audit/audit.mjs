// Runs the audits of GraphQL over HTTP, and the clients of its subscription protocols, against the API at
// DROPZONE_URL (for example http://127.0.0.1:8000/graphql) with the API key DROPZONE_API_KEY.
// Exits with 1 if an audit or a client fails, or if an audit warns.

import { getIntrospectionQuery } from 'graphql';
import { serverAudits } from 'graphql-http';
import { createClient as createEventClient } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.env.DROPZONE_URL;
const key = process.env.DROPZONE_API_KEY;
if (!url || !key) throw new Error('set DROPZONE_URL and DROPZONE_API_KEY');

const headers = { 'x-api-key': key };
const introspection = getIntrospectionQuery({
  inputValueDeprecation: true,
  oneOf: true,
  schemaDescription: true,
  specifiedByUrl: true,
});
let passed = 0;
let failed = 0;

function report(name, problem) {
  if (!problem) {
    passed += 1;
    return;
  }
  failed += 1;
  console.error(`${name}: ${problem}`);
}

for (const audit of serverAudits({ url, fetchFn: (to, options) => fetch(to, { ...options, headers: { ...options?.headers, ...headers } }) })) {
  const result = await audit.fn();
  report(`${result.id} ${result.name}`, result.status === 'ok' ? undefined : result.reason);
}

const clients = {
  'graphql-ws': () => createSocketClient({ url: url.replace(/^http/, 'ws'), webSocketImpl: WebSocket, connectionParams: { apiKey: key }, retryAttempts: 0 }),
  'graphql-sse': () => createEventClient({ url, headers, retryAttempts: 0 }),
};
for (const [name, create] of Object.entries(clients)) {
  const client = create();
  try {
    for (const query of ['{ __typename }', introspection]) {
      const responses = [];
      for await (const response of client.iterate({ query })) responses.push(response);
      report(name, responses.length === 1 && responses[0].data && !responses[0].errors ? undefined : JSON.stringify(responses));
    }
  } catch (error) {
    report(name, error.reason ?? String(error));
  }
  client.dispose();
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
