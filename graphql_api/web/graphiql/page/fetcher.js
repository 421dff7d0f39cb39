// Sends operations: over HTTP for queries and mutations, over graphql-transport-ws for subscriptions.
//
// Each failure becomes a GraphQL error with a readable message, because GraphiQL displays GraphQL errors only.

const UNAUTHENTICATED = 4401; // the code with which the server closes a WebSocket
const address = new URL(location.pathname, location.origin);

async function post(operation, headers) {
  let response;
  try {
    response = await fetch(address, {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json;q=0.9',
        'content-type': 'application/json',
        'x-requested-with': 'dropzone', // no page of another origin can send it
        ...headers,
      },
      body: JSON.stringify(operation),
    });
  } catch (error) {
    return { errors: [{ message: `${address.host} does not respond (${error.message}). Is the server running?` }] };
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return { errors: [{ message: `${address.host} responded with status ${response.status} and without JSON: ${text.slice(0, 300)}` }] };
  }
}

/** Returns an observable. GraphiQL cannot stop an async generator while it waits. */
function subscribe(operation, connectionParams, createClient, onUnauthenticated) {
  const url = new URL(address);
  url.protocol = url.protocol.replace('http', 'ws');
  const client = createClient({
    url: url.href,
    connectionParams,
    retryAttempts: 0, // a reconnect would not send the last cursor, so results would be lost
  });
  return {
    subscribe: (sink) => {
      let cursor = null;
      const next = (response) => {
        const [field] = Object.values(response.data ?? {}); // a subscription has one root field, under any alias
        cursor = field?.cursor ?? cursor;
        sink.next(response);
      };
      const error = (reason) => {
        if (reason.code === UNAUTHENTICATED) onUnauthenticated();
        sink.error(toErrors(reason, cursor));
      };
      return { unsubscribe: client.subscribe(operation, { ...sink, next, error }) };
    },
  };
}

/** Converts a close event to GraphQL errors. Close codes 4400 to 4499 mean that the server refused the operation. */
function toErrors(reason, cursor) {
  if (!(reason instanceof CloseEvent)) return reason;
  const message = `The connection was closed: ${reason.code} ${reason.reason || '(no reason given)'}.`;
  const isRefusal = reason.code >= 4400 && reason.code < 4500;
  if (isRefusal) return [{ message }];
  const after = cursor ? ` To continue without a gap, first set "after" to ${cursor}.` : '';
  return [{ message: `${message} Press play to watch again.${after}` }];
}

/** Returns the headers of the headers editor. A credential in them replaces the session. */
const lowerCase = (edited = {}) =>
  Object.fromEntries(Object.entries(edited).map(([name, value]) => [name.toLowerCase(), value]));

/** Returns the operation in the text. After a tab change, GraphiQL briefly passes the old tab's name instead. */
function selectOperation({ query, operationName }, parse) {
  let definitions;
  try {
    ({ definitions } = parse(query));
  } catch {
    return undefined; // the server reports the syntax error
  }
  const operations = definitions.filter(({ kind }) => kind === 'OperationDefinition');
  return operations.length === 1 ? operations[0] : operations.find(({ name }) => name?.value === operationName);
}

/**
 * Returns a fetcher for GraphiQL. Its requests wait until `opening` resolves, because a sign-in link starts the session.
 * Calls `onUnauthenticated` if the server refused the session.
 */
export const createFetcher = (createClient, parse, { opening, onUnauthenticated }) => {
  const send = async (operation, headers) => {
    await opening;
    const response = await post(operation, headers);
    if (response.errors?.some(({ extensions }) => extensions?.code === 'UNAUTHENTICATED')) onUnauthenticated();
    return response;
  };
  return (request, options) => {
    const headers = lowerCase(options?.headers);
    const definition = selectOperation(request, parse);
    const operation = definition ? { ...request, operationName: definition.name?.value } : request;
    return definition?.operation === 'subscription'
      ? subscribe(operation, headers, createClient, onUnauthenticated)
      : send(operation, headers);
  };
};
