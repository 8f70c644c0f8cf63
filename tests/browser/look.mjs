// Pictures of every page, to be looked at by eye: at three widths, light and dark.
//   node tests/browser/look.mjs FOLDER [part of a name ...]    all, or those whose names hold a part
//   node tests/browser/look.mjs --readme                       the set of the README: docs/screenshots
// WIDTHS=360,1440 and THEMES=dark choose some.
import fs from 'node:fs';
import path from 'node:path';
import { button, made, message, pages, seed, signInPages } from './pages.mjs';
import { administrator, launch, ROOT, Server, visitor } from './rig.mjs';

const SIZES = [[360, 740], [768, 1024], [1440, 900]];
const some = (name, all) => (process.env[name] ? all.filter((x) => process.env[name].split(',').includes(String([x].flat()[0]))) : all);
const looks = some('WIDTHS', SIZES).flatMap(([width, height]) => some('THEMES', ['light', 'dark']).map((colorScheme) => ({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' })));
const settled = (page) => page.waitForTimeout(250); // fonts: only eyes see this

/** A page's state, from a clean start; what does not fit its width is told. */
async function show(page, [name, where, act]) {
  await page.goto('/settings/look');
  await page.evaluate(() => { localStorage.clear(); sessionStorage.clear(); });
  await page.goto(where);
  await page.locator('main, form').first().waitFor();
  await settled(page);
  await act?.(page);
  await settled(page);
  const wide = await page.evaluate(() => [...document.querySelectorAll('.page, main')].some((x) => x.scrollWidth > x.clientWidth + 1));
  if (wide) console.error(`${name}: wider than the page`);
}

async function everything(browser, server, folder, wanted) {
  fs.mkdirSync(folder, { recursive: true });
  const fits = ([name]) => !wanted.length || wanted.some((x) => name.includes(x));
  const shoot = async (list, options) => {
    for (const look of looks) {
      const v = await visitor(browser, server, { ...look, ...options });
      for (const one of list.filter(fits)) {
        await show(v.page, one).catch((e) => console.error(`${one[0]}: ${String(e).split('\n')[0]}`));
        await v.page.screenshot({ path: path.join(folder, `${one[0]}-${look.viewport.width}-${look.colorScheme}.png`) });
      }
      if (v.problems.length) console.error(look, v.problems);
      await v.context.close();
    }
  };
  await shoot([['sign-up', '/']]);
  const ada = await administrator(browser, server);
  const ids = await seed(ada.page);
  await shoot(signInPages);
  await shoot(pages(ids), { storageState: await ada.context.storageState() });
}

/** PNG into WebP, by the browser: nothing else has to be there. */
async function webp(browser, png) {
  const page = await browser.newPage();
  const text = await page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const c = document.createElement('canvas');
    [c.width, c.height] = [image.width, image.height];
    c.getContext('2d').drawImage(image, 0, 0);
    return c.toDataURL('image/webp', 0.86).split(',')[1];
  }, png.toString('base64'));
  await page.close();
  return Buffer.from(text, 'base64');
}

const top = (page) => page.evaluate(() => document.querySelector('article')?.scrollIntoView());
/** [file, its light, where, what is done there] */
const readme = (ids) => [
  ['chat', 'light', `/c/${ids.chat}`, top],
  ['studio', 'dark', '/studio', made],
  ['form', 'dark', '/studio/form', async (p) => {
    await p.getByLabel('Prompt', { exact: true }).fill('a red apple');
    await p.getByLabel('Seed', { exact: true }).fill('7');
    await button(p, 'Queue').click();
    await p.waitForFunction(() => [...document.querySelectorAll('main img')].some((x) => x.naturalWidth > 1), null, { timeout: 60000 });
    await p.waitForTimeout(2500);
  }],
  ['picture', 'light', `/c/${ids.picture}`, async (p) => { await p.locator('figure img').first().waitFor(); await button(p, 'Picture mode').click(); }],
  ['phone', 'light', `/c/${ids.chat}`, top],
  ['machine', 'dark', '/', async (p) => {
    await message(p).fill('Tell me a long story about the sea.');
    await button(p, 'Send').click();
    await p.locator('article.last[data-state="writing"]').waitFor();
    await p.goto('/machine');
    await p.waitForTimeout(25000); // lines to look at
  }],
];

async function forReadme(browser, server) {
  const folder = path.join(ROOT, 'docs/screenshots');
  const ada = await administrator(browser, server);
  const ids = await seed(ada.page);
  const storageState = await ada.context.storageState();
  for (const [name, colorScheme, where, act] of readme(ids)) {
    const viewport = name === 'phone' ? { width: 390, height: 800 } : { width: 1440, height: 900 };
    const v = await visitor(browser, server, { viewport, colorScheme, reducedMotion: 'reduce', storageState });
    await show(v.page, [name, where, act]);
    fs.writeFileSync(path.join(folder, `${name}.webp`), await webp(browser, await v.page.screenshot()));
    await v.context.close();
  }
}

const [folder, ...wanted] = process.argv.slice(2);
if (!folder) throw new Error('look.mjs FOLDER [part of a name ...], or look.mjs --readme');
const server = await new Server().start();
await server.createModels();
const browser = await launch();
try {
  await (folder === '--readme' ? forReadme(browser, server) : everything(browser, server, folder, wanted));
} finally {
  await browser.close();
  await server.finish();
}
