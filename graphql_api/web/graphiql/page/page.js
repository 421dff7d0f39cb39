// The GraphiQL page. The same code runs with packages from npm and from a CDN.
//
// The server keeps the session, and the browser keeps its secret in a cookie that scripts cannot read. The page never
// holds a key: it sends an entered key once, in exchange for a session.
import { createFetcher } from './fetcher.js';
import { readLink } from './link.js';
import { endSession, followTabs, openSession, readSession, startSession } from './session.js';
import { openStorage } from './storage.js';
import { tabs } from './tabs.js';

/** The schema of a sample for the variables editor. The server validates more. */
const SCALARS = {
  RawSample: {
    type: 'object',
    required: ['time_stamp', 'data'],
    properties: {
      time_stamp: { type: 'string', description: 'RFC 3339 time with a UTC offset' },
      data: { type: 'array', items: { type: 'number' }, minItems: 1 },
    },
  },
};
const start = JSON.parse(document.getElementById('start').textContent);

export function open({ React, createRoot, GraphiQL, createClient, parse, plugins }) {
  const { createElement, useEffect, useRef, useState } = React;
  const linked = readLink();
  const defaultTabs = linked ? [linked, ...tabs(start.sample)] : tabs(start.sample);
  const storage = openStorage(defaultTabs[0], Boolean(linked));

  const opening = openSession();

  function SignIn({ session, refusal, onChange }) {
    if (session) {
      const signOut = async () => onChange(await endSession());
      return createElement(
        'form',
        { className: 'key', onReset: () => void signOut() },
        `Signed in as ${session.submitter}.`,
        createElement('button', { type: 'reset' }, 'Sign out'),
      );
    }
    return createElement(
      'form',
      {
        className: 'key',
        onSubmit: async (event) => {
          event.preventDefault();
          onChange(await startSession({ 'x-api-key': event.target.elements.key.value.trim() }));
        },
      },
      createElement('label', { htmlFor: 'key' }, 'Enter an API key:'),
      createElement('input', {
        id: 'key',
        name: 'key',
        type: 'password',
        autoComplete: 'off',
        autoFocus: true,
        required: true,
        pattern: '\\s*[!-~]+\\s*',
        title: 'ASCII letters, digits and signs, without spaces',
      }),
      createElement('button', { type: 'submit' }, 'Sign in'),
      start.provider &&
        createElement('a', { className: 'provider', href: '/session/sign-in?page=/graphql' }, `Sign in with ${start.provider}`),
      refusal && createElement('strong', { role: 'alert' }, refusal),
    );
  }

  function Page() {
    const [state, setState] = useState({ session: undefined, refusal: null });
    const isSignedOut = useRef(false);
    const change = (next) => {
      // GraphiQL reads the schema, which needs a session, again for another fetcher.
      if (next.session && isSignedOut.current) setFetcher(newFetcher);
      isSignedOut.current = next.session === null;
      setState(next);
    };
    const onUnauthenticated = () => {
      if (!isSignedOut.current) void readSession().then(change); // otherwise the page displays why already
    };
    const newFetcher = () => createFetcher(createClient, parse, { opening, onUnauthenticated });
    const [fetcher, setFetcher] = useState(newFetcher);
    useEffect(() => {
      void opening.then(change);
      followTabs(change);
    }, []);
    return createElement(
      React.Fragment,
      null,
      state.session !== undefined && createElement(SignIn, { ...state, onChange: change }),
      createElement(
        GraphiQL,
        {
          fetcher,
          storage,
          defaultTabs,
          plugins,
          customScalarSchemas: SCALARS,
          defaultEditorToolsVisibility: 'variables',
        },
        createElement(GraphiQL.Logo, null, createElement('a', { className: 'home', href: '/' }, 'Dropzone')),
      ),
    );
  }

  addEventListener('hashchange', () => location.reload()); // the user followed a link to another query
  createRoot(document.getElementById('page')).render(createElement(Page));
}
