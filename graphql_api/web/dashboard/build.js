// Bundles the page and its npm packages into dist/.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const ASSETS = '/assets/';

await rm('dist', { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ['src/main.tsx', 'src/page.css', 'page/icon.svg'],
  bundle: true,
  minify: true,
  metafile: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  outdir: 'dist/assets',
  entryNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  publicPath: ASSETS,
  loader: { '.graphql': 'text', '.svg': 'copy', '.woff2': 'file' },
  logLevel: 'warning',
});
const addresses = {};
for (const [output, { entryPoint }] of Object.entries(metafile.outputs)) {
  if (entryPoint) addresses[basename(entryPoint)] = ASSETS + basename(output);
  if (output.endsWith('.woff2')) addresses['font.woff2'] = ASSETS + basename(output);
}
const html = await readFile('page/page.html', 'utf8');
await writeFile(
  'dist/page.html',
  html.replaceAll(/(?<=(?:href|src)=")[^"]+/g, (name) => {
    if (!addresses[name]) throw new Error(`page.html names ${name}, which the build did not produce`);
    return addresses[name];
  }),
);

// The server sends these gzip copies, so that it does not compress the files for each request.
for (const name of await readdir('dist/assets')) {
  if (!/\.(js|css|svg|ttf)$/.test(name)) continue;
  await writeFile(`dist/assets/${name}.gz`, gzipSync(await readFile(`dist/assets/${name}`), { level: 9 }));
}
