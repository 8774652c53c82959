// Bundles src/ into one HTML file that `fovea` embeds: node build.mjs [OUT], by default bundle/page.html.
// Packages are looked for here, or in the folder that FOVEA_PAGE_MODULES names (./check installs them outside the sources).
import {createHash} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const modules = createRequire(join(process.env.FOVEA_PAGE_MODULES ?? here, 'package.json'));
const esbuild = modules('esbuild');

function bundle(entry) {
  const result = esbuild.buildSync({
    absWorkingDir: here,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    target: ['chrome105', 'firefox110', 'safari16'],
    charset: 'utf8',
    format: 'iife',
    legalComments: 'none',
    logLevel: 'warning',
  });
  return result.outputFiles[0].text.trim();
}

const script = bundle('src/main.ts'),
  style = bundle('src/style.css');
if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style)) throw new Error('the bundle would end its own element');

// Nothing but this script and this style runs, whatever text the page is given, and nothing is ever fetched.
const hash = text => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; img-src data:; base-uri 'none'; form-action 'none'`;

const parts = {policy, style, script};
const html = readFileSync(join(here, 'src/page.html'), 'utf8').replace(/<!--put:(\w+)-->/g, (_, name) => parts[name]);
if (html.split('<!--fovea:run-->').length !== 2) throw new Error('src/page.html needs <!--fovea:run--> exactly once');
writeFileSync(process.argv[2] ?? join(here, 'bundle/page.html'), html);
