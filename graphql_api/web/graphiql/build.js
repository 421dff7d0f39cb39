// Bundles the page and its npm packages into dist/.
//
// Workers are built first: their names contain a hash of their content, and the page contains these names.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const ASSETS = '/graphql/assets/';

/** Bundles the entry points and returns the address of each output: `{ 'json.worker.js': '/graphql/assets/…' }`. */
async function bundle(entryPoints, options) {
  const { metafile } = await build({
    entryPoints,
    bundle: true,
    minify: true,
    metafile: true,
    target: 'es2022',
    outdir: 'dist/assets',
    entryNames: '[name]-[hash]',
    chunkNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.svg': 'copy', '.ttf': 'file' },
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'warning',
    ...options,
  });
  const addresses = {};
  for (const [output, { entryPoint, cssBundle }] of Object.entries(metafile.outputs)) {
    if (!entryPoints.some((name) => entryPoint?.endsWith(name))) continue; // a chunk that the page loads later
    addresses[basename(entryPoint)] = ASSETS + basename(output);
    if (cssBundle) addresses['page.css'] = ASSETS + basename(cssBundle);
  }
  return addresses;
}

await rm('dist', { recursive: true, force: true });
const workers = await bundle(
  [
    'monaco-editor/esm/vs/editor/editor.worker.js',
    'monaco-editor/esm/vs/language/json/json.worker.js',
    'monaco-graphql/esm/graphql.worker.js',
  ],
  { format: 'iife' },
);
const page = await bundle(['page/npm.js', 'page/icon.svg'], {
  format: 'esm',
  splitting: true,
  define: { 'process.env.NODE_ENV': '"production"', WORKERS: JSON.stringify(workers) },
});
const html = await readFile('page/npm.html', 'utf8');
await writeFile('dist/page.html', html.replaceAll(/(?<=(?:href|src)=")[^"]+/g, (name) => page[name]));

// The server sends these gzip copies, so that it does not compress the files for each request.
for (const name of await readdir('dist/assets')) {
  if (!/\.(js|css|svg|ttf)$/.test(name)) continue;
  await writeFile(`dist/assets/${name}.gz`, gzipSync(await readFile(`dist/assets/${name}`), { level: 9 }));
}
