// The GraphiQL page. The same code runs with packages from npm and from a CDN.
//
// If the browser is on the server's machine, the page contains a key (`start.key`). Otherwise the user enters a key,
// and the browser tab stores it.
import { createFetcher } from './fetcher.js';
import { readLink } from './link.js';
import { openStorage } from './storage.js';
import { tabs } from './tabs.js';

const STORAGE_NAME = 'dropzone:api-key';
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
  const { createElement, useMemo, useState } = React;
  const linked = readLink();
  const defaultTabs = linked ? [linked, ...tabs(start.sample)] : tabs(start.sample);
  const storage = openStorage(defaultTabs[0], Boolean(linked));

  function KeyForm({ hasKey, onKey }) {
    if (hasKey) {
      return createElement(
        'form',
        { className: 'key', onReset: () => onKey(null) },
        'Requests contain the API key that you entered, until you close this browser tab.',
        createElement('button', { type: 'reset' }, 'Forget key'),
      );
    }
    return createElement(
      'form',
      {
        className: 'key',
        onSubmit: (event) => {
          event.preventDefault();
          onKey(event.target.elements.key.value.trim());
        },
      },
      createElement('label', { htmlFor: 'key' }, 'Enter an API key:'),
      createElement('input', {
        id: 'key',
        name: 'key',
        type: 'password',
        autoComplete: 'off',
        required: true,
        pattern: '\\s*[!-~]+\\s*',
        title: 'ASCII letters, digits and signs, without spaces',
      }),
      createElement('button', { type: 'submit' }, 'Use key'),
    );
  }

  function Page() {
    const [enteredKey, setEnteredKey] = useState(() => sessionStorage.getItem(STORAGE_NAME));
    const key = start.key ?? enteredKey;
    const fetcher = useMemo(() => createFetcher(key, createClient, parse), [key]);
    const onKey = (value) => {
      if (value) sessionStorage.setItem(STORAGE_NAME, value);
      else sessionStorage.removeItem(STORAGE_NAME);
      setEnteredKey(value);
    };
    return createElement(
      React.Fragment,
      null,
      !start.key && createElement(KeyForm, { hasKey: Boolean(enteredKey), onKey }),
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
