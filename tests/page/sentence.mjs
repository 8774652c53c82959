// A sentence through MiniLM: the page shows the numbers of --json, by pointer and by keyboard, in every form it takes.
import assert from 'node:assert/strict';
import {readFileSync, statSync} from 'node:fs';
import {look, near, open, rows, scratch, settled, step, withBrowser} from './browser.mjs';

const text = 'The bank by the river was flooded';
const {page, json} = look('sentence', text, '--top', '100000');
const bank = 2,
  river = 5;
const links = (layer, head, query) => json.links.filter(l => l.layer === layer && l.head === head && l.query === query);
const at = (layer, head) => json.heads.findIndex(h => h.layer === layer && h.head === head);
const token = i => `.token[data-i="${i}"]`;
const heading = tab => tab.textContent('#row-title');

/** Every row shown against the links of --json: weight and lift as f32 hold them, norms as f32 of a double. */
async function sameAsJson(tab, layer, head, query) {
  const shown = await rows(tab),
    expected = links(layer, head, query);
  assert.ok(Object.keys(shown).length > 0);
  for (const [key, row] of Object.entries(shown)) {
    const link = expected.find(l => l.key === Number(key));
    near(row.weight, link.weight, 1e-7, 'weight');
    near(row.lift, link.lift, 1e-6, 'lift');
    near(row.norm, link.norm_weighted, 1e-5, 'norm-weighted');
    near(row.effect, link.local_effect ?? Infinity, 1e-4, `local effect of ${query} → ${key}`);
  }
  return shown;
}

await withBrowser(async browser => {
  const {tab, complaints} = await open(browser, page);
  const choose = async (layer, head) => {
    await tab.click(`[data-head="${at(layer, head)}"]`);
    await settled(tab);
  };

  await step('one small file that asks for nothing', async () => {
    assert.ok(statSync(page).size < 2e6);
    const html = readFileSync(page, 'utf8');
    assert.match(html, /Content-Security-Policy" content="default-src 'none'; script-src 'sha256-/);
    assert.ok(!/(src|href)\s*=\s*["']?(https?:)?\/\//i.test(html));
    assert.equal(await tab.title(), `${text} – fovea`);
  });

  await step('the proof is in sight, with the number of --json', async () => {
    assert.equal(await tab.textContent('#proof output'), json.proof.max_abs_error.toExponential(1).replace('e+', 'e+'));
    await tab.evaluate(() => scrollTo(0, 1e6));
    assert.ok(await tab.locator('#proof').isVisible());
    const box = await tab.locator('#proof').boundingBox();
    assert.ok(box.y >= 0 && box.y < 200, 'the proof stays at the top while the page scrolls');
    await tab.evaluate(() => scrollTo(0, 0));
  });

  await step('pointing at a token shows its row', async () => {
    for (const [layer, head] of [
      [0, 4],
      [3, 7],
      [5, 11],
    ]) {
      await choose(layer, head);
      await tab.hover(token(bank));
      await settled(tab);
      assert.equal(await heading(tab), 'bank looks at');
      const shown = await sameAsJson(tab, layer, head, bank);
      const strongest = links(layer, head, bank)[0].key;
      assert.ok(String(strongest) in shown);
      const mass = Object.values(shown).reduce((s, r) => s + r.weight, 0);
      assert.ok(mass >= 0.7 - 1e-6 && Object.keys(shown).length <= 9);
      const share = Math.round(100 * mass),
        rest = 9 - Object.keys(shown).length;
      assert.match(await tab.textContent('#coverage'), new RegExp(`^showing ${share}%, .* over ${rest} others?$`));
    }
  });

  await step('who looks at it: Alt while held, A to stay', async () => {
    await choose(0, 4);
    await tab.hover(token(river));
    await tab.keyboard.down('Alt');
    await settled(tab);
    assert.equal(await heading(tab), 'river is looked at by');
    for (const [query, row] of Object.entries(await rows(tab)))
      near(row.weight, links(0, 4, Number(query)).find(l => l.key === river).weight, 1e-7, 'weight');
    await tab.keyboard.up('Alt');
    await settled(tab);
    assert.equal(await heading(tab), 'river looks at');
    await tab.keyboard.press('a');
    await settled(tab);
    assert.equal(await heading(tab), 'river is looked at by');
    await tab.keyboard.press('a');
  });

  await step('a click pins, Shift-click sums, Escape lets go', async () => {
    await tab.click(token(bank));
    await tab.hover(token(7));
    await settled(tab);
    assert.equal(await heading(tab), 'bank looks at');
    await sameAsJson(tab, 0, 4, bank);
    const tip = await tab.textContent('#tip'),
      link = links(0, 4, bank).find(l => l.key === 7);
    assert.ok(
      tip.includes('bank → flooded') &&
        tip.includes(link.weight < 0.0995 ? link.weight.toFixed(4) : link.weight.toFixed(3)),
      tip,
    );
    await tab.click(token(river), {modifiers: ['Shift']});
    await settled(tab);
    assert.equal(await heading(tab), 'bank + river look at');
    for (const [key, row] of Object.entries(await rows(tab))) {
      const sum = [bank, river].reduce((s, q) => s + links(0, 4, q).find(l => l.key === Number(key)).weight, 0);
      near(row.weight, sum, 1e-6, 'sum');
    }
    await tab.keyboard.press('Escape');
    await tab.mouse.move(5, 5);
    await settled(tab);
    assert.equal(await heading(tab), 'Row');
  });

  await step('without the sink the rest adds up to one', async () => {
    await choose(5, 0);
    await tab.click(token(bank));
    await tab.click('#bare');
    await settled(tab);
    if (await tab.locator('.foot .quiet').count()) {
      await tab.click('.foot .quiet');
      await settled(tab);
    }
    const shown = await rows(tab);
    assert.deepEqual(Object.keys(shown).map(Number).sort(), [1, 2, 3, 4, 5, 6, 7]);
    near(
      Object.values(shown).reduce((s, r) => s + r.weight, 0),
      1,
      1e-5,
      'sum',
    );
    const all = links(5, 0, bank),
      left = 1 - all.filter(l => l.key === 0 || l.key === 8).reduce((s, l) => s + l.weight, 0);
    near(shown[river].weight, all.find(l => l.key === river).weight / left, 1e-5, 'rescaled');
    await tab.click('#bare');
    await tab.keyboard.press('Escape');
  });

  await step('everything by keyboard', async () => {
    await tab.focus('.thumb[tabindex="0"]');
    const before = await tab.textContent('#head h2');
    await tab.keyboard.press('ArrowRight');
    await settled(tab);
    assert.notEqual(await tab.textContent('#head h2'), before);
    await tab.keyboard.press('[');
    await settled(tab);
    assert.equal(await tab.textContent('#head h2'), before);
    await tab.focus('.token[tabindex="0"]');
    await tab.keyboard.press('Home');
    for (let i = 0; i < bank; ++i) await tab.keyboard.press('ArrowRight');
    await settled(tab);
    assert.equal(await heading(tab), 'bank looks at');
    await tab.keyboard.press('Enter');
    await settled(tab);
    assert.equal(await tab.getAttribute(token(bank), 'aria-selected'), 'true');
    assert.match(await tab.textContent('#said'), /^bank looks at .*%/);
    await tab.keyboard.press('?');
    assert.ok(await tab.locator('#help').isVisible());
    await tab.keyboard.press('Escape');
    await tab.focus('.map-box');
    await tab.keyboard.press('ArrowRight');
    await tab.keyboard.press('ArrowDown');
    await settled(tab);
    assert.match(await tab.textContent('#tip'), /→.*weight/);
  });

  await step('heads in the order of any number', async () => {
    for (const number of ['entropy', 'confidence', 'previous', 'next', 'self', 'special', 'sink', 'distance']) {
      await tab.selectOption('#sort', number);
      await settled(tab);
      const order = await tab.$$eval('.thumb', all => all.map(t => Number(t.dataset.head)));
      assert.equal(order.length, json.heads.length);
      const values = order.map(i => json.heads[i][number] * (number === 'entropy' ? 1 : -1));
      assert.ok(
        values.every((v, i) => i === 0 || v >= values[i - 1]),
        number,
      );
    }
    await tab.selectOption('#sort', 'place');
  });

  await step('the map shows the weight under the pointer', async () => {
    await choose(0, 4);
    const box = await tab.locator('.map-box canvas').first().boundingBox();
    const cell = (box.width - 74 - 30) / 9;
    await tab.mouse.move(box.x + 74 + (river + 0.5) * cell, box.y + 64 + (bank + 0.5) * cell);
    await settled(tab);
    const tip = await tab.textContent('#tip'),
      link = links(0, 4, bank).find(l => l.key === river);
    assert.ok(tip.includes('bank → river') && tip.includes(link.weight.toFixed(3)), tip);
  });

  assert.deepEqual(complaints, []);
  await tab.close();

  await step('dark, light, print, and three sizes', async () => {
    for (const colorScheme of ['dark', 'light'])
      for (const [width, height] of [
        [1440, 900],
        [1024, 768],
        [390, 844],
      ]) {
        const shot = await open(browser, page, {viewport: {width, height}, colorScheme});
        assert.equal(await shot.tab.getAttribute('html', 'data-theme'), colorScheme);
        assert.ok(
          await shot.tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
          `nothing sticks out at ${width}`,
        );
        await shot.tab.screenshot({path: scratch(`${colorScheme}-${width}.png`), fullPage: true});
        if (width === 1440) assert.ok((await shot.tab.pdf()).length > 10000);
        assert.deepEqual(shot.complaints, []);
        await shot.tab.close();
      }
  });
});
