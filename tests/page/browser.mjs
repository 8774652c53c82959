// What the page's tests share: the program that writes pages, a browser that opens them, and a record of all that the browser complained of.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {createRequire} from 'node:module';
import {join} from 'node:path';
import {pathToFileURL} from 'node:url';

const {FOVEA_PROGRAM, FOVEA_MODEL, FOVEA_SCRATCH, FOVEA_BROWSER, FOVEA_PAGE_MODULES} = process.env;
const {chromium} = createRequire(join(FOVEA_PAGE_MODULES, 'package.json'))('playwright-core');

const kPatience = 120_000; // ms: of a machine that is busy with other tests

export const scratch = name => join(FOVEA_SCRATCH, name);

/** fovea look with these arguments: what --json says, and the page's path. */
export function look(name, text, ...more) {
  const page = scratch(`${name}.html`);
  const model = more.includes('--model') ? [] : ['--model', FOVEA_MODEL];
  const run = spawnSync(FOVEA_PROGRAM, ['look', ...model, '--json', '--html', page, ...more], {
    input: text,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  assert.equal(run.status, 0, run.stderr);
  return {page, json: JSON.parse(run.stdout)};
}

export async function withBrowser(test) {
  const browser = await chromium.launch({
    executablePath: FOVEA_BROWSER,
    timeout: kPatience,
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
  try {
    await test(browser);
  } finally {
    await browser.close();
  }
}

/** Opens a file and returns the tab; `complaints` collects errors of any kind and every request but the file's own. */
export async function open(browser, file, options = {}) {
  const tab = await browser.newPage({viewport: {width: 1280, height: 900}, colorScheme: 'light', ...options});
  tab.setDefaultTimeout(kPatience);
  const url = pathToFileURL(file).href,
    complaints = [];
  tab.on('console', m => ['error', 'warning'].includes(m.type()) && complaints.push(`console: ${m.text()}`));
  tab.on('pageerror', e => complaints.push(`error: ${e.message}`));
  tab.on('request', r => r.url() !== url && complaints.push(`request: ${r.url()}`));
  tab.on('dialog', d => {
    complaints.push(`dialog: ${d.message()}`);
    return d.dismiss();
  });
  await tab.goto(url);
  await tab.waitForSelector('.token');
  await settled(tab);
  return {tab, complaints};
}

/** Two frames on: whatever was asked for is drawn. */
export const settled = tab =>
  tab.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))));

/** The rows of the inspector: index of the other token → column → value. */
export const rows = tab =>
  tab.$$eval('#row tbody tr', trs =>
    Object.fromEntries(
      trs.map(tr => [
        tr.dataset.index,
        Object.fromEntries(
          [...tr.querySelectorAll('td[data-col]')].map(td => [td.dataset.col, Number(td.dataset.value)]),
        ),
      ]),
    ),
  );

export const near = (a, b, tolerance, what) =>
  assert.ok(a === b || Math.abs(a - b) <= tolerance * Math.max(1e-9, Math.abs(b)), `${what}: ${a}, expected ${b}`);

let count = 0;
export async function step(name, body) {
  await body();
  console.log(`ok ${++count} - ${name}`);
}
