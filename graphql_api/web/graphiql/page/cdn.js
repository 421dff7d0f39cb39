// The page with its packages from a CDN, for a server that was set up without npm. GraphiQL 4 is the last version that
// is published as a single file, and only a single file can be pinned by a hash. The other scripts are deferred and
// run before this one.
import { open } from './page.js';

const { React, ReactDOM, GraphiQL, graphqlWs } = globalThis;

if (React && ReactDOM && GraphiQL && graphqlWs) {
  const { createClient } = graphqlWs;
  open({ React, createRoot: ReactDOM.createRoot, GraphiQL, createClient, parse: GraphiQL.GraphQL.parse });
} else {
  document.querySelector('strong').textContent = 'GraphiQL could not be loaded from cdn.jsdelivr.net.';
}
