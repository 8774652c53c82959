// Attention of other shapes than a sentence's own: causal, with a measured effect, and from one text to another. The numbers are those of a
// real page; what is made here is their arrangement, as models of those kinds will write it.
import assert from 'node:assert/strict';
import {readFileSync, writeFileSync} from 'node:fs';
import {look, near, open, rows, scratch, settled, step, withBrowser} from './browser.mjs';

const {page} = look('shapes', 'The bank by the river was flooded');
const html = readFileSync(page, 'utf8');
const inside = id => html.match(new RegExp(`(<script id="${id}"[^>]*>)([^<]*)(</script>)`));
const source = JSON.parse(inside('run')[2]),
  bytes = Buffer.from(inside('arrays')[2], 'base64');
const group = source.page.groups[0],
  heads = source.heads.length,
  n = source.tokens.length;
const array = name => {
  const {offset, shape} = group.arrays.find(a => a.name === name);
  return new Float32Array(
    bytes.buffer.slice(bytes.byteOffset + offset, bytes.byteOffset + offset + 4 * shape.reduce((a, b) => a * b, 1)),
  );
};
const weight = array('weight'),
  effect = array('effect'),
  norm = array('value_norm');
const at = (h, q, k) => (h * n + q) * n + k;

/** A page of that run, its one group made of these arrays: [name, dtype, shape, typed array]. */
function write(name, run, change, arrays) {
  const parts = [];
  let offset = 0;
  const infos = arrays.map(([array, dtype, shape, values]) => {
    const info = {name: array, dtype, shape, offset},
      data = Buffer.alloc(Math.ceil(values.byteLength / 4) * 4);
    Buffer.from(values.buffer).copy(data);
    parts.push(data);
    offset += data.length;
    return info;
  });
  const made = {...run, page: {...run.page, groups: [{...group, ...change, arrays: infos}]}};
  const safe = JSON.stringify(made).replace(/[<>&]/g, c => `\\u00${c.charCodeAt(0).toString(16)}`);
  const file = scratch(`${name}.html`);
  writeFileSync(
    file,
    html
      .replace(inside('run')[2], () => safe)
      .replace(inside('arrays')[2], () => Buffer.concat(parts).toString('base64')),
  );
  return file;
}

await withBrowser(async browser => {
  await step('a causal mask: hidden keys are hatched and no links, lift counts what is seen', async () => {
    const masked = Float32Array.from(weight),
      seen = new Uint8Array(n * 2),
      visible = Uint32Array.from({length: n}, (_, q) => q + 1);
    for (let q = 0; q < n; ++q) {
      for (let k = 0; k <= q; ++k) seen[q * 2 + (k >> 3)] |= 1 << (k & 7);
      for (let h = 0; h < heads; ++h) {
        const sum = [...Array(q + 1).keys()].reduce((s, k) => s + weight[at(h, q, k)], 0);
        for (let k = 0; k < n; ++k) masked[at(h, q, k)] = k <= q ? weight[at(h, q, k)] / sum : 0;
      }
    }
    const file = write('causal', source, {mask: Array(heads).fill(0)}, [
      ['weight', 'F32', [heads, n, n], masked],
      ['effect', 'F32', [heads, n, n], effect],
      ['value_norm', 'F32', [heads, n], norm],
      ['visible', 'U32', [1, n], visible],
      ['seen', 'U8', [1, n, 2], seen],
    ]);
    const {tab, complaints} = await open(browser, file);
    await tab.click('[data-head="7"]');
    await tab.click('.token[data-i="3"]');
    await settled(tab);
    if (await tab.locator('.foot .quiet').count()) {
      await tab.click('.foot .quiet');
      await settled(tab);
    }
    const shown = await rows(tab);
    assert.deepEqual(Object.keys(shown), ['0', '1', '2', '3']);
    for (const row of Object.values(shown)) near(row.lift, row.weight * 4, 1e-6, 'lift over the four keys seen');
    assert.match(await tab.textContent('#map .caption'), /Hatched: hidden by the mask/);
    const box = await tab.locator('.map-box canvas').first().boundingBox();
    await tab.mouse.move(box.x + 74 + 7.5 * 38, box.y + 64 + 2.5 * 38);
    await settled(tab);
    assert.match(await tab.textContent('#tip'), /hidden by the mask/);
    await tab.screenshot({path: scratch('causal.png')});
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('a measured effect stands beside the estimate, with its control', async () => {
    const link = source.links[0],
      measured = {metric: 'log p', effect: 1.25, control_mean: 0.02, control_sd: 0.01, percentile: 100, draws: 20};
    const quiet = {...source.links[1], measured: {...measured, effect: 0.015, percentile: 60}};
    const run = {...source, links: [{...link, measured}, quiet, ...source.links.slice(2)]};
    const file = write('measured', run, {}, [
      ['weight', 'F32', [heads, n, n], weight],
      ['effect', 'F32', [heads, n, n], effect],
      ['value_norm', 'F32', [heads, n], norm],
    ]);
    const {tab, complaints} = await open(browser, file);
    await tab.click(`.token[data-i="${link.query}"]`);
    await settled(tab);
    assert.equal((await rows(tab))[link.key].measured, 1.25);
    assert.match(
      await tab.getAttribute('td[data-col="measured"]', 'title'),
      /control 0\.020 ± 0\.010 over 20 draws, percentile 100/,
    );
    assert.equal(quiet.layer === link.layer && quiet.head === link.head, true);
    await tab.click(`.token[data-i="${quiet.query}"]`);
    await settled(tab);
    assert.match(
      await tab.textContent(`tr[data-index="${quiet.key}"] td[data-col="measured"]`),
      /no measurable effect/,
    );
    assert.deepEqual(complaints, []);
    await tab.close();
  });

  await step('cross-attention: two texts, a map that is no square', async () => {
    const m = 4,
      target = ['La', 'banque', 'inondée', '.'].map((text, index) => ({index, id: index, text, begin: 0, end: 0}));
    const part = values =>
      Float32Array.from(
        {length: heads * m * n},
        (_, i) => values[at(Math.floor(i / (m * n)), (Math.floor(i / n) % m) + 1, i % n)],
      );
    const run = {...source, target_tokens: target, heads: source.heads.map(h => ({...h, kind: 'cross'})), links: []};
    const file = write('cross', run, {kind: 'cross', queries: 'target_tokens'}, [
      ['weight', 'F32', [heads, m, n], part(weight)],
      ['effect', 'F32', [heads, m, n], part(effect)],
      ['value_norm', 'F32', [heads, n], norm],
    ]);
    const {tab, complaints} = await open(browser, file);
    assert.equal(await tab.locator('.strip').count(), 2);
    const [, output] = await tab.$$('.strip');
    await (await output.$('.token[data-i="1"]')).hover();
    await settled(tab);
    assert.equal(await tab.textContent('#row-title'), 'banque looks at');
    for (const [key, row] of Object.entries(await rows(tab)))
      near(row.weight, weight[at(0, 2, Number(key))], 1e-7, 'weight');
    await tab.hover('.strip .token[data-i="2"]');
    await settled(tab); // of the first text: it can only be looked at
    assert.equal(await tab.textContent('#row-title'), 'bank is looked at by');
    await tab.screenshot({path: scratch('cross.png')});
    assert.deepEqual(complaints, []);
    await tab.close();
  });
});
