// Text that would like to be markup, script or the end of either.
import assert from 'node:assert/strict';
import {open, look, settled, step, withBrowser} from './browser.mjs';

const texts = [
  '</script><script>alert(1)</script>',
  '<!-- <script> --> "quotes" \'single\' & &amp; &lt;b&gt; \\u003c \u2028 \u2029',
  '<img src=x onerror=alert(2)> <a href="javascript:alert(3)">x</a> <svg onload=alert(4)>',
  ']]> {{7*7}} ${alert(5)} `</style>`<!--fovea:run-->',
  'naïve café 我们去银行 🏦 e\u0301 \u202eabc',
];

await withBrowser(async browser => {
  for (const text of texts)
    await step(JSON.stringify(text), async () => {
      const {page, json} = look('hostile', text);
      const {tab, complaints} = await open(browser, page);
      const shown = await tab.$eval('.strip', strip => strip.textContent);
      const added = json.tokens.filter(t => t.begin === t.end).map(t => t.text);
      assert.equal(shown, added[0] + text + added.slice(1).join(''));
      assert.equal(await tab.locator('.token').count(), json.tokens.length);
      assert.equal(await tab.evaluate(() => document.querySelectorAll('script').length), 1); // ours: data is taken out once it is read
      assert.equal(await tab.evaluate(() => document.querySelectorAll('img, a, iframe').length), 0);
      await tab.hover('.token[data-i="1"]');
      await settled(tab);
      assert.ok((await tab.textContent('#row-title')).includes(json.tokens[1].text));
      assert.deepEqual(complaints, []);
      await tab.close();
    });

  await step('the policy stops what is planted', async () => {
    const {page} = look('planted', 'A text');
    const {tab} = await open(browser, page);
    const blocked = await tab.evaluate(async () => {
      const script = document.createElement('script');
      script.textContent = 'window.planted = true';
      document.body.append(script);
      const fetched = await fetch('file:///etc/hostname').then(
        () => true,
        () => false,
      );
      return !('planted' in window) && !fetched;
    });
    assert.ok(blocked);
    await tab.close();
  });
});
