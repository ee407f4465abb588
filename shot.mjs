import chromium from '@sparticuz/chromium';
import { chromium as pw } from 'playwright-core';
import { readFileSync } from 'node:fs';
const U = readFileSync('/tmp/url','utf8').trim().replace(/\/$/,'');
const t=Date.now();
const browser = await pw.launch({ executablePath: await chromium.executablePath(), args: chromium.args, headless: true });
console.log('up', Date.now()-t, browser.version());
const page = await browser.newPage({ viewport: { width: Number(process.argv[3] ?? 1280), height: 900 }, locale: 'en-US', colorScheme: process.argv[2] ?? 'light' });
page.on('console', m => ['error','warning'].includes(m.type()) && console.log('console', m.type(), m.text(), m.location().url));
page.on('pageerror', e => console.log('pageerror', e.message));
const runs = await (await fetch(U+'/v1/runs')).json();
for (const [name, path] of [['overview','/'],['days','/days?to=2026-03-05&days=90'],['day','/days/2026-03-02'],['genres','/genres?to=2026-03-02&days=7'],['genre','/genres/dub?to=2026-03-02&days=7'],['runs','/runs'],['run','/runs/'+runs[0].run_id],['none','/x'],['docs','/docs/']]) {
  await page.goto(U+path); await page.waitForTimeout(1500);
  await page.screenshot({ path: `/tmp/shots/${name}.png`, fullPage: true });
  console.log(name, await page.title());
}
await browser.close();
