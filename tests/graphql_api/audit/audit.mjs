// Runs the audits of GraphQL over HTTP, and the clients of its subscription protocols, against the API at
// DROPZONE_URL (such as http://127.0.0.1:8000/graphql) with the key DROPZONE_API_KEY. Fails if any warns.

import { getIntrospectionQuery } from 'graphql';
import { serverAudits } from 'graphql-http';
import { createClient as createEventClient } from 'graphql-sse';
import { createClient as createSocketClient } from 'graphql-ws';
import WebSocket from 'ws';

const url = process.env.DROPZONE_URL;
const key = process.env.DROPZONE_API_KEY;
if (!url || !key) throw new Error('DROPZONE_URL and DROPZONE_API_KEY say what to audit');

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
  'graphql-sse, distinct connections': () => createEventClient({ url, headers, retryAttempts: 0 }),
  'graphql-sse, single connection': () => createEventClient({ url, headers, singleConnection: true, retryAttempts: 0 }),
};
for (const [name, create] of Object.entries(clients)) {
  const client = create();
  try {
    for (const query of ['{ __typename }', introspection]) {
      const answers = [];
      for await (const answer of client.iterate({ query })) answers.push(answer);
      report(name, answers.length === 1 && answers[0].data && !answers[0].errors ? undefined : JSON.stringify(answers));
    }
  } catch (error) {
    report(name, error.reason ?? String(error));
  }
  client.dispose();
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
