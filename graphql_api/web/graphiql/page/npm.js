// The page with its packages from npm: GraphiQL 5, whose editors run in three web workers, and the plugin that builds
// queries from checked fields.
import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { createClient } from 'graphql-ws';
import { GraphiQL } from 'graphiql';
import { parse } from 'graphql';
import * as React from 'react';
import { createRoot } from 'react-dom/client';
import '@graphiql/react/font/fira-code.css';
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './page.css';
import { open } from './page.js';

globalThis.MonacoEnvironment = {
  getWorkerUrl: (_, language) => WORKERS[`${language}.worker.js`] ?? WORKERS['editor.worker.js'],
};
const plugins = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];
open({ React, createRoot, GraphiQL, createClient, parse, plugins });
