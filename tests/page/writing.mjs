// A translation: the steps that wrote it, the alignment over the map, and the decoder's own attention.
import assert from 'node:assert/strict';
import {spawnSync} from 'node:child_process';
import {look, near, open, rows, scratch, settled, step, withBrowser} from './browser.mjs';

const text = "The animal didn't cross the street because it was too tired.";
const demo = ['--model', 'demo', '--top', '100000', '--special'];
const {page, json} = look('cross', text, ...demo, '--kind', 'cross');
const decoder = look('decoder', text, ...demo, '--kind', 'decoder');
const all = look('encoder', text, ...demo);
const written = json.target_tokens,
  steps = written.length;
const accent = [194, 65, 12]; // of the light theme, see style.css

const heading = tab => tab.textContent('#row-title');
const visible = (tab, list) => tab.locator(`.sheet:not([hidden]) [aria-label="${list}"]`).count();
const input = 'What each step had read',
  output = 'Tokens of the output';

async function slide(tab, to) {
  await tab.locator('#step').fill(String(to));
  await settled(tab);
}

/** The rows shown are links of that query, with their numbers. */
async function sameAsJson(tab, links, index, query) {
  const head = (await tab.getAttribute('.thumb[aria-selected="true"]', 'data-head')) | 0;
  const {kind, layer, head: number} = index.heads[head];
  const own = links.filter(l => l.kind === kind && l.layer === layer && l.head === number && l.query === query);
  assert.ok(own.length > 0);
  const shown = await rows(tab);
  assert.ok(Object.keys(shown).length > 0);
  for (const [key, row] of Object.entries(shown))
    near(row.weight, own.find(l => l.key === Number(key)).weight, 1e-7, `weight of ${query} → ${key}`);
}

/** Colours of the map where the alignment has its corners. */
const corners = tab =>
  tab.evaluate(
    ([path, keys]) => {
      const map = document.querySelector('.map-box canvas'),
        ratio = map.width / map.clientWidth,
        cell = (map.clientWidth - 74 - 30) / keys,
        at = (margin, i) => Math.round((margin + (i + 0.5) * cell) * ratio);
      const copy = Object.assign(document.createElement('canvas'), {width: map.width, height: map.height});
      const context = copy.getContext('2d', {willReadFrequently: true});
      context.drawImage(map, 0, 0);
      return path.map((key, query) => [...context.getImageData(at(74, key), at(64, query), 1, 1).data.slice(0, 3)]);
    },
    [json.alignment.map(a => a.source), json.tokens.length],
  );

await withBrowser(async browser => {
  await step('a slider over the steps: each shows what it looked at, and what was not written yet is faint', async () => {
    const {tab, complaints} = await open(browser, page);
    assert.equal(await tab.textContent('#step-said'), `${steps} steps wrote it`);
    assert.equal(await tab.locator('.token.ahead').count(), 0);
    for (const i of [0, 5, steps - 1, 3]) {
      await slide(tab, i);
      assert.equal(await tab.textContent('#step-said'), `${i + 1} of ${steps} writes ${written[i].text}`);
      assert.ok((await heading(tab)).includes(written[i].text));
      assert.equal(await tab.locator('.token.ahead').count(), steps - 1 - i);
      await sameAsJson(tab, json.links, json, i);
    }
    await tab.keyboard.press('.');
    await settled(tab);
    assert.equal(await tab.inputValue('#step'), '4');
    await tab.keyboard.press(',');
    await settled(tab);
    assert.equal(await tab.inputValue('#step'), '3');
    await tab.click(`[aria-label="${output}"] .token[data-i="7"]`);
    await settled(tab);
    assert.equal(await tab.inputValue('#step'), '7', 'a pinned word moves the slider');
    await tab.keyboard.press('Escape');
    await settled(tab);
    assert.equal(await tab.locator('.token.ahead').count(), 0);
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('the alignment is a line over the map, and goes with P', async () => {
    const {tab, complaints} = await open(browser, page);
    for (const colour of await corners(tab))
      colour.forEach((c, i) => assert.ok(Math.abs(c - accent[i]) <= 3, `a corner is ${colour}`));
    assert.match(await tab.textContent('#map .caption'), /The line is the alignment/);
    await tab.screenshot({path: scratch('alignment.png'), fullPage: true});
    await tab.keyboard.press('p');
    await settled(tab);
    for (const colour of await corners(tab)) assert.ok(colour.some((c, i) => Math.abs(c - accent[i]) > 20));
    assert.doesNotMatch(await tab.textContent('#map .caption'), /alignment/);
    assert.equal(await tab.getAttribute('#path', 'aria-pressed'), 'false');
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('the decoder: what was read before each step, what comes later hatched', async () => {
    const {tab, complaints} = await open(browser, decoder.page);
    assert.equal(await visible(tab, input), 1);
    assert.match(await tab.textContent('#map .caption'), /Hatched: hidden by the mask/);
    assert.ok(!(await tab.locator('#path').isVisible()));
    for (const i of [1, 6]) {
      await slide(tab, i);
      await sameAsJson(tab, decoder.json.links, decoder.json, i);
      assert.ok(Object.keys(await rows(tab)).every(key => Number(key) <= i), 'no step reads what it writes');
    }
    await tab.keyboard.press('Escape');
    await tab.hover(`[aria-label="${input}"] .token[data-i="2"]`);
    await settled(tab);
    assert.equal(await heading(tab), `${decoder.json.target_inputs[2].text} is looked at by`);
    await tab.screenshot({path: scratch('decoder.png'), fullPage: true});
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('every edge is measured ahead: the scatter, its lists and the row agree with measure --all edges', async () => {
    const run = spawnSync(process.env.FOVEA_PROGRAM, ['measure', text, '--all', 'edges', '--kind', 'cross', '--json'], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    assert.equal(run.status, 0, run.stderr);
    const survey = JSON.parse(run.stdout),
      effects = new Map(survey.items.map(i => [[i.layer, i.head, i.query, i.key].join(), i.effect]));
    const {tab, complaints} = await open(browser, page);
    assert.ok(await tab.locator('#scatter').isVisible());
    assert.ok((await tab.textContent('#scatter-said')).startsWith(`${survey.items.length.toLocaleString('en')} edges`));
    assert.ok((await tab.textContent('#scatter-said')).includes(survey.rank_correlation.weight.toFixed(2)));
    const buttons = tab.locator('.disagreements button');
    assert.ok((await buttons.count()) > 0);
    await buttons.first().click();
    await settled(tab);
    const {kind, layer, head} = json.heads[(await tab.getAttribute('.thumb[aria-selected="true"]', 'data-head')) | 0];
    assert.equal(kind, 'cross');
    const query = Number(await tab.inputValue('#step'));
    for (const [key, row] of Object.entries(await rows(tab)))
      near(row.measured, effects.get([layer, head, query, key].join()), 1e-3, `effect of ${query} → ${key}`);
    const box = await tab.locator('#scatter canvas').boundingBox();
    let tip = '';
    for (let x = box.x + 62; x < box.x + box.width && !tip.includes('effect'); x += 9) {
      await tab.mouse.move(x, box.y + box.height - 36); // along the axis, where most of them lie
      tip = (await tab.locator('#tip').isVisible()) ? await tab.textContent('#tip') : '';
    }
    assert.match(tip, /→.*head \d+·\d+.*weight .* · effect /);
    await tab.screenshot({path: scratch('scatter.png'), fullPage: true});
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('all kinds on one page: the slider opens a head of its own', async () => {
    const {tab, complaints} = await open(browser, all.page);
    assert.deepEqual(await tab.$$eval('.grid .kind', k => k.map(x => x.textContent)), ['encoder', 'decoder', 'cross']);
    assert.equal(await visible(tab, input), 0, 'only where the decoder is open');
    assert.match(await tab.textContent('#head h2'), /^head /);
    await slide(tab, 6);
    assert.match(await tab.textContent('#head h2'), /^cross head /);
    await sameAsJson(tab, json.links, all.json, 6);
    const first = all.json.heads.findIndex(h => h.kind === 'decoder');
    await tab.click(`[data-head="${first}"]`);
    await settled(tab);
    assert.equal(await visible(tab, input), 1);
    await sameAsJson(tab, decoder.json.links, all.json, 6);
    assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await tab.screenshot({path: scratch('kinds.png'), fullPage: true});
    assert.deepEqual(complaints, []);
    await tab.close();
  });
});
