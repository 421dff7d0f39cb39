// How the page asks: HTTP for queries and mutations, graphql-transport-ws for subscriptions.
//
// Every failure is answered as a GraphQL error whose message a reader understands: GraphiQL shows nothing else.

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
    return { errors: [{ message: `${address.host} did not answer (${error.message}). Is the server running?` }] };
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `${address.host} answered ${response.status} without JSON: ${text.slice(0, 300)}` }] };
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
  return {
    subscribe: (sink) => {
      let cursor = null;
      const next = (answer) => {
        cursor = answer.data?.results?.cursor ?? cursor;
        sink.next(answer);
      };
      const error = (reason) => sink.error(readable(reason, cursor));
      return { unsubscribe: client.subscribe(operation, { ...sink, next, error }) };
    },
  };
}

/** The reason is a list of GraphQL errors or what the WebSocket closed with; 44.. are refusals by the server. */
function readable(reason, cursor) {
  if (!(reason instanceof CloseEvent)) return reason;
  const message = `The connection was closed: ${reason.code} ${reason.reason || '(no reason given)'}.`;
  const isRefusal = reason.code >= 4400 && reason.code < 4500;
  if (isRefusal) return [{ message }];
  const after = cursor ? `; with ${cursor} as "after" nothing is missed` : '';
  return [{ message: `${message} Press play to watch again${after}.` }];
}

/** The key goes along unless the headers editor names a credential itself. */
function credentials(key, edited = {}) {
  const headers = Object.fromEntries(Object.entries(edited).map(([name, value]) => [name.toLowerCase(), value]));
  return !key || 'x-api-key' in headers || 'authorization' in headers ? headers : { ...headers, 'x-api-key': key };
}

/** The operation that is meant. By its text: what GraphiQL knows of it is, for a moment, that of the tab before. */
function chosen({ query, operationName }, parse) {
  let definitions;
  try {
    ({ definitions } = parse(query));
  } catch {
    return undefined; // the server says what is wrong, and where
  }
  const operations = definitions.filter(({ kind }) => kind === 'OperationDefinition');
  return operations.length === 1 ? operations[0] : operations.find(({ name }) => name?.value === operationName);
}

export const createFetcher = (key, createClient, parse) => (asked, options) => {
  const headers = credentials(key, options?.headers);
  const definition = chosen(asked, parse);
  const operation = definition ? { ...asked, operationName: definition.name?.value } : asked;
  return definition?.operation === 'subscription'
    ? watch(operation, headers, createClient)
    : ask(operation, headers);
};
