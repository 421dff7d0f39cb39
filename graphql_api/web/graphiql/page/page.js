// The page itself: the same whether its packages were bundled from npm or come from a CDN.
//
// The server may hand it a key (`start.key`). Otherwise it asks for one and keeps it for this browser tab.
import { createFetcher } from './fetcher.js';
import { takeLinked } from './link.js';
import { openStorage } from './storage.js';
import { tabs } from './tabs.js';

const KEPT = 'dropzone:api-key';
/** What the variables editor knows of a sample: the server knows more, and answers REJECTED. */
const SCALARS = {
  RawSample: {
    type: 'object',
    required: ['time_stamp', 'data'],
    properties: {
      time_stamp: { type: 'string', description: 'RFC 3339, with its offset from UTC' },
      data: { type: 'array', items: { type: 'number' }, minItems: 1 },
    },
  },
};
const start = JSON.parse(document.getElementById('start').textContent);

export function open({ React, createRoot, GraphiQL, createClient, parse, plugins }) {
  const { createElement, useMemo, useState } = React;
  const linked = takeLinked();
  const defaultTabs = linked ? [linked, ...tabs(start.sample)] : tabs(start.sample);
  const storage = openStorage(defaultTabs[0], Boolean(linked));

  function KeyForm({ hasKey, onKey }) {
    if (hasKey) {
      return createElement(
        'form',
        { className: 'key', onReset: () => onKey(null) },
        'Requests carry the API key that you gave, until this browser tab is closed.',
        createElement('button', { type: 'reset' }, 'Forget it'),
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
      createElement('label', { htmlFor: 'key' }, 'This server needs an API key:'),
      createElement('input', {
        id: 'key',
        name: 'key',
        type: 'password',
        autoComplete: 'off',
        required: true,
        pattern: '\\s*[!-~]+\\s*',
        title: 'Latin letters, digits and signs, without spaces',
      }),
      createElement('button', { type: 'submit' }, 'Use it'),
    );
  }

  function Page() {
    const [given, setGiven] = useState(() => sessionStorage.getItem(KEPT));
    const key = start.key ?? given;
    const fetcher = useMemo(() => createFetcher(key, createClient, parse), [key]);
    const onKey = (value) => {
      if (value) sessionStorage.setItem(KEPT, value);
      else sessionStorage.removeItem(KEPT);
      setGiven(value);
    };
    return createElement(
      React.Fragment,
      null,
      !start.key && createElement(KeyForm, { hasKey: Boolean(given), onKey }),
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

  addEventListener('hashchange', () => location.reload()); // a link to here, followed from here
  createRoot(document.getElementById('page')).render(createElement(Page));
}
