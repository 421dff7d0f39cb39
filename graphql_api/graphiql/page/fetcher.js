// How the page asks: HTTP for queries and mutations, graphql-transport-ws for subscriptions.
//
// Every failure becomes an error whose message a reader understands, because GraphiQL shows nothing else.

const address = new URL(location.pathname, location.origin);

async function ask(operation, headers) {
  let response;
  try {
    response = await fetch(address, {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json;q=0.9',
        'content-type': 'application/json',
        ...headers,
      },
      body: JSON.stringify(operation),
    });
  } catch (error) {
    throw new Error(`${address.host} did not answer (${error.message}). Is the server running?`);
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${address.host} answered ${response.status} and no JSON: ${text.slice(0, 300)}`);
  }
}

/** GraphiQL takes an observable. An async generator would not do: it cannot be stopped while it waits. */
function watch(operation, connectionParams, createClient) {
  const url = new URL(address);
  url.protocol = url.protocol.replace('http', 'ws');
  const client = createClient({
    url: url.href,
    connectionParams,
    retryAttempts: 0, // whoever connects again without the last cursor has a gap and does not know it
  });
  const readable = (reason) =>
    reason instanceof CloseEvent
      ? new Error(
          `The connection was closed: ${reason.code} ${reason.reason || '(no reason given)'}. ` +
            'Press play to watch again; with the last cursor as "after" nothing is missed.',
        )
      : reason;
  return {
    subscribe: (sink) => ({
      unsubscribe: client.subscribe(operation, { ...sink, error: (reason) => sink.error(readable(reason)) }),
    }),
  };
}

/** The key goes along unless the headers editor names a credential itself. */
function credentials(key, edited = {}) {
  const headers = Object.fromEntries(Object.entries(edited).map(([name, value]) => [name.toLowerCase(), value]));
  return !key || 'x-api-key' in headers || 'authorization' in headers ? headers : { ...headers, 'x-api-key': key };
}

export const createFetcher = (key, createClient) => (operation, options) => {
  const headers = credentials(key, options?.headers);
  const isSubscription = options?.documentAST?.definitions.some(
    (definition) =>
      definition.operation === 'subscription' &&
      (!operation.operationName || definition.name?.value === operation.operationName),
  );
  return isSubscription ? watch(operation, headers, createClient) : ask(operation, headers);
};
