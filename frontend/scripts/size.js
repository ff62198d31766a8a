/**
 * Prints how many bytes the client library is, bundled, minified and gzipped; fails above its limit.
 */
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const LIMIT = 7168;

const bundles = await build({
  configFile: false,
  logLevel: 'error',
  build: {
    write: false,
    minify: true,
    target: 'es2022',
    lib: {
      entry: fileURLToPath(new URL('../client/index.js', import.meta.url)),
      formats: ['es'],
    },
    rolldownOptions: { output: { minify: true } },
  },
});
const [{ output }] = [bundles].flat();
const code = output[0].code;
const bytes = gzipSync(code, { level: 9 }).length;
console.log(`client: ${bytes} of ${LIMIT} bytes (minified ${code.length})`);
if (process.argv.includes('--print')) console.log(code);
process.exitCode = bytes > LIMIT ? 1 : 0;
