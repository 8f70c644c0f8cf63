// The studio as people use it who know ComfyUI: the clipboard, groups, masks, files dropped, keys alone.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { administrator, api, axe, dropFiles, launch, Server, visitor } from './rig.mjs';

let server, browser, ada, page;
const SEED = '18446744073709551615'; // 2^64 - 1: no JavaScript number
const node = (title) => page.locator('.node', { hasText: title });
const widget = (title, name) => node(title).getByLabel(name, { exact: true });
const nodes = () => page.locator('.node').count();
const edges = () => page.locator('.svelte-flow__edge').count();

/** Text, so that the seed's digits are as written. */
const flow = (seed = '5') => `{"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "emoji-sd.safetensors"}},
  "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lemon", "clip": ["1", 1]}},
  "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
  "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
  "5": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0], "seed": ${seed}, "steps": 2, "cfg": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}},
  "6": {"class_type": "VAEDecode", "inputs": {"samples": ["5", 0], "vae": ["1", 2]}},
  "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "studio"}}}`;
async function load(text, name = 'flow.json') {
  await page.getByLabel('Workflow file').setInputFiles({ name, mimeType: 'application/json', buffer: Buffer.from(text) });
  await node('KSampler').waitFor();
}
async function menu(name) {
  await page.getByRole('button', { name: 'Workflow', exact: true }).click();
  await page.getByRole('menuitem', { name, exact: true }).click();
}
async function saved(name) {
  const download = page.waitForEvent('download');
  await menu(name);
  return fs.readFileSync(await (await download).path(), 'utf8');
}
const empty = async () => {
  await menu('New');
  await page.getByText('An empty canvas').waitFor();
};
/** The page's own picture: a red square on white, as PNG. */
const square = async (size = 64) => Buffer.from(await page.evaluate((n) => {
  const c = document.createElement('canvas');
  c.width = c.height = n;
  const x = c.getContext('2d');
  x.fillStyle = '#fff';
  x.fillRect(0, 0, n, n);
  x.fillStyle = '#e33';
  x.fillRect(n / 4, n / 4, n / 2, n / 2);
  return c.toDataURL('image/png').split(',')[1];
}, size), 'base64');

before(async () => {
  server = await new Server().start();
  browser = await launch();
  ada = await administrator(browser, server, { viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' });
  page = ada.page;
  await page.goto('/studio');
  await page.getByText('An empty canvas').waitFor();
}, { timeout: 60000 });

after(async () => {
  await browser?.close();
  await server?.finish();
});

describe('the studio', { timeout: 240000 }, () => {
  it('a seed keeps all its digits: loaded, saved, queued, opened from its picture', async () => {
    await load(flow(SEED));
    assert.equal(await widget('KSampler', 'seed').inputValue(), SEED);
    assert.ok((await saved('Download in API format')).includes(`"seed": ${SEED}`));
    assert.ok((await saved('Download')).includes(`${SEED},`));
    await page.keyboard.press('Control+s');
    const name = page.getByLabel('Workflow', { exact: true }).and(page.locator('input'));
    if (await name.count()) await name.fill('long seed');
    if (await name.count()) await page.keyboard.press('Enter');
    await page.getByText('Saved.').waitFor();
    await page.getByRole('button', { name: 'Queue' }).click();
    await page.waitForFunction(() => document.querySelector('.node .shots img')?.naturalWidth === 64, null, { timeout: 60000 });
    await page.waitForFunction(async (seed) => (await (await fetch('/comfy/history')).text()).includes(`"seed": ${seed}`), SEED);
    const png = Buffer.from(await page.evaluate(async () => Array.from(new Uint8Array(await (await fetch(document.querySelector('.node .shots a').href)).arrayBuffer()))));
    await empty();
    // Dropped beside the canvas, on the page's head.
    await dropFiles(page, '.studio > header', [['made.png', 'image/png', png]]);
    await node('KSampler').waitFor();
    assert.equal(await widget('KSampler', 'seed').inputValue(), SEED);
    await empty();
    await page.keyboard.press('Control+o');
    await page.getByRole('button', { name: /^(long seed|flow)/ }).click();
    await node('KSampler').waitFor();
    assert.equal(await widget('KSampler', 'seed').inputValue(), SEED);
    await page.reload();
    await node('KSampler').waitFor();
    assert.equal(await widget('KSampler', 'seed').inputValue(), SEED, 'the draft too');
  });

  it('every long number keeps its digits, wherever it stands', async () => {
    const long = ['9007199254740993', '-9223372036854775807', '18446744073709551615', '99999999999999999999999'];
    await empty();
    await page.getByLabel('Workflow file').setInputFiles({ name: 'odd.json', mimeType: 'application/json', buffer: Buffer.from(
      `{"nodes": [{"id": 1, "type": "OfAnotherServer", "pos": [0, 0], "widgets_values": [${long.join(', ')}, "${SEED}"]}], "links": [], "version": 0.4}`) });
    await node('OfAnotherServer').waitFor();
    await page.keyboard.press('Control+s');
    const name = page.getByLabel('Workflow', { exact: true }).and(page.locator('input'));
    if (await name.count()) await name.fill('odd numbers');
    if (await name.count()) await page.keyboard.press('Enter');
    await page.getByText('Saved.').waitFor();
    await empty();
    await page.keyboard.press('Control+o');
    await page.getByRole('button', { name: /^(odd|odd numbers)\b/ }).click();
    await node('OfAnotherServer').waitFor();
    const text = await saved('Download');
    const values = /"widgets_values": \[([^\]]*)\]/.exec(text)[1].split(',').map((x) => x.trim());
    assert.deepEqual(values, [...long, `"${SEED}"`]);
    assert.ok(!text.includes('"long"'));
  });

  it('a seed goes up by one after each job, beyond 2^53 too', async () => {
    await load(flow('9007199254740993'));
    await widget('KSampler', 'After each job').selectOption('increment');
    await page.getByRole('button', { name: 'Queue' }).click();
    await page.waitForFunction(() => document.querySelector('.node [type=number]') && [...document.querySelectorAll('.node input')].some((x) => x.value === '9007199254740994'));
    await widget('KSampler', 'seed').fill('99999999999999999999999');
    await widget('KSampler', 'seed').blur();
    assert.equal(await widget('KSampler', 'seed').inputValue(), SEED, 'at most 2^64 - 1');
  });

  it('copy and paste, undo and redo', async () => {
    await load(flow());
    await node('Empty Latent Image').locator('.head').click();
    await page.keyboard.press('Control+c');
    await page.keyboard.press('Control+v');
    await page.waitForFunction(() => document.querySelectorAll('.node').length === 8);
    await page.waitForTimeout(400); // the hand rests: one step of undo
    await page.keyboard.press('Control+z');
    await page.waitForFunction(() => document.querySelectorAll('.node').length === 7);
    await page.keyboard.press('Control+y');
    await page.waitForFunction(() => document.querySelectorAll('.node').length === 8);
    await page.keyboard.press('Control+z');
    await page.waitForFunction(() => document.querySelectorAll('.node').length === 7);
    // A copied sampler is fed by what fed the first.
    await node('KSampler').locator('.head').click();
    await page.keyboard.press('Control+c');
    await page.keyboard.press('Control+v');
    await page.waitForFunction(() => document.querySelectorAll('.svelte-flow__edge').length === 13);
    await page.keyboard.press('Delete');
    await page.waitForFunction(() => document.querySelectorAll('.svelte-flow__edge').length === 9);
    assert.equal(await nodes(), 7);
  });

  it('copies go into other tabs, and have no links to strangers', async () => {
    await load(flow());
    await node('KSampler').locator('.head').click();
    await page.keyboard.press('Control+a');
    await page.keyboard.press('Control+c');
    const other = await ada.context.newPage();
    await other.goto('/studio');
    await other.locator('.node', { hasText: 'KSampler' }).waitFor();
    await other.getByRole('button', { name: 'Workflow', exact: true }).click();
    await other.getByRole('menuitem', { name: 'New', exact: true }).click();
    await other.getByText('An empty canvas').waitFor();
    await other.keyboard.press('Control+v');
    await other.waitForFunction(() => document.querySelectorAll('.node').length === 7 && document.querySelectorAll('.svelte-flow__edge').length === 9);
    await other.close();
    // One node alone, into another workflow whose nodes bear the same numbers.
    await page.locator('.svelte-flow__pane').click({ position: { x: 5, y: 300 } });
    await node('KSampler').locator('.head').click();
    await page.keyboard.press('Control+c');
    await empty();
    await load(flow());
    await page.keyboard.press('Control+v');
    await page.waitForFunction(() => document.querySelectorAll('.node').length === 8);
    assert.equal(await edges(), 9);
  });

  it('what other editors note comes back: colours, properties, values of primitives; NaN is read', async () => {
    const ui = { version: 0.4, links: [[1, 2, 0, 1, 0, 'INT']], groups: [{ title: 'G', bounding: [-20, -60, 900, 400], color: '#3f789e' }], nodes: [
      { id: 1, type: 'EmptyLatentImage', pos: [0, 0], size: [300, 120], bgcolor: '#335', color: '#223', properties: { cnr_id: 'core' }, inputs: [{ name: 'width', type: 'INT', link: 1, widget: { name: 'width' } }], outputs: [], widgets_values: [64, 64, 1] },
      { id: 2, type: 'PrimitiveNode', pos: [400, 0], outputs: [{ name: 'INT', type: 'INT', links: [1] }], widgets_values: [64, 'fixed'] }] };
    await page.getByLabel('Workflow file').setInputFiles({ name: 'notes.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(ui).replace('"version":0.4', '"version":0.4,"extra":{"is":[NaN,-Infinity,"NaN"]}')) });
    await node('PrimitiveNode').waitFor();
    const out = JSON.parse(await saved('Download'));
    const [size, value] = [1, 2].map((id) => out.nodes.find((n) => n.id === id));
    assert.deepEqual([size.bgcolor, size.color, size.properties.cnr_id, value.widgets_values, out.groups[0].color], ['#335', '#223', 'core', [64, 'fixed'], '#3f789e']);
    assert.match(await saved('Download in API format'), /"width": 64/);
  });

  it('very many nodes: those in view are drawn, all are kept', async () => {
    const all = Array.from({ length: 400 }, (_, i) => ({ id: i + 1, type: 'EmptyLatentImage', pos: [(i % 40) * 320, Math.floor(i / 40) * 220], size: [280, 140], outputs: [{ name: 'LATENT', type: 'LATENT', links: null }], widgets_values: [64, 64, 1] }));
    await page.getByLabel('Workflow file').setInputFiles({ name: 'many.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify({ version: 0.4, nodes: all, links: [] })) });
    await page.locator('.node', { hasText: '#1' }).first().waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.node').length > 2 && document.querySelectorAll('.node').length < 100);
    assert.equal(JSON.parse(await saved('Download')).nodes.length, 400);
    await empty();
  });

  it('groups: made around the chosen, named, kept in the file', async () => {
    await load(flow());
    await page.locator('.svelte-flow__pane').click({ position: { x: 5, y: 300 } });
    await page.keyboard.press('Control+a');
    await page.keyboard.press('Control+g');
    await page.getByLabel('Title of the group').fill('All of it');
    const group = JSON.parse(await saved('Download')).groups[0];
    assert.equal(group.title, 'All of it');
    assert.ok(group.bounding[2] > 600 && group.bounding[3] > 100, 'around all nodes');
    const text = await saved('Download');
    await empty();
    await load(text);
    assert.equal(await page.getByLabel('Title of the group').inputValue(), 'All of it');
    assert.equal(await edges(), 9);
    const at = async () => (await node('KSampler').boundingBox()).x;
    const before = await at();
    const head = await page.locator('.area-head').boundingBox();
    await page.mouse.move(head.x + head.width - 30, head.y + head.height / 2);
    await page.mouse.down();
    await page.mouse.move(head.x + head.width + 10, head.y + head.height / 2, { steps: 5 });
    await page.mouse.up();
    assert.ok((await at()) - before > 20, 'what lies in it moves with it');
  });

  it('a picture is uploaded and a mask is drawn on it', async () => {
    await empty();
    await page.getByRole('button', { name: 'Add a node' }).first().click();
    await page.getByLabel('Find a node').fill('load image');
    await page.getByRole('option', { name: /^Load Image image/ }).click();
    await node('Load Image').getByLabel('Picture file').setInputFiles({ name: 'square.png', mimeType: 'image/png', buffer: await square() });
    await page.waitForFunction(() => document.querySelector('.node select')?.value.includes('square'));
    await node('Load Image').getByRole('button', { name: 'Draw a mask' }).click();
    const canvas = page.getByLabel(/^The mask: paint with the pointer/);
    await page.waitForFunction(() => document.querySelector('dialog canvas')?.width === 64);
    assert.deepEqual(await axe(page), []);
    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + box.width * 0.2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await page.getByRole('button', { name: 'Use this mask' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const name = await node('Load Image').locator('select').inputValue();
    assert.notEqual(name, 'square.png');
    const alpha = await page.evaluate(async (src) => {
      const bitmap = await createImageBitmap(await (await fetch(src)).blob());
      const c = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      c.drawImage(bitmap, 0, 0);
      return [c.getImageData(20, 32, 1, 1).data[3], c.getImageData(56, 8, 1, 1).data[3]];
    }, await node('Load Image').locator('img').getAttribute('src').then((s) => s.replace('&preview=webp%3B80', '')));
    assert.deepEqual(alpha, [0, 255], 'what was painted is transparent, the rest is not');
  });

  it('a mask without a pointer: a rectangle in percent, turned round', async () => {
    const plain = await node('Load Image').locator('option').evaluateAll((all) => all.map((o) => o.value).find((v) => v.endsWith('square.png')));
    await node('Load Image').locator('select').selectOption(plain);
    await node('Load Image').getByRole('button', { name: 'Draw a mask' }).click();
    await page.waitForFunction(() => document.querySelector('dialog canvas')?.width === 64);
    const set = async (name, value) => {
      await page.getByRole('dialog').getByLabel(name, { exact: true }).focus();
      await page.keyboard.press('Control+a');
      await page.keyboard.type(value);
    };
    for (const [name, value] of [['Left', '50'], ['Top', '0'], ['Width', '50'], ['Height', '25']]) await set(name, value);
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Invert' }).press('Enter');
    await page.getByRole('button', { name: 'Use this mask' }).press('Enter');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const alpha = await page.evaluate(async (src) => {
      const bitmap = await createImageBitmap(await (await fetch(src)).blob());
      const c = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      c.drawImage(bitmap, 0, 0);
      return [c.getImageData(60, 4, 1, 1).data[3], c.getImageData(4, 4, 1, 1).data[3], c.getImageData(60, 40, 1, 1).data[3]];
    }, await node('Load Image').locator('img').getAttribute('src').then((x) => x.replace('&preview=webp%3B80', '')));
    assert.deepEqual(alpha, [255, 0, 0], 'only the rectangle is left');
  });

  it('on a phone nodes are large enough to use; all of them are one menu away', async () => {
    const seen = await visitor(browser, server, { viewport: { width: 360, height: 740 }, reducedMotion: 'reduce', hasTouch: true, isMobile: true, storageState: await ada.context.storageState() });
    const p = seen.page;
    await p.goto('/studio');
    await p.getByLabel('Workflow file').setInputFiles({ name: 'flow.json', mimeType: 'application/json', buffer: Buffer.from(flow()) });
    const first = p.locator('.node', { hasText: 'Load Checkpoint' });
    await first.waitFor();
    await p.waitForFunction(() => { const b = document.querySelector('.node')?.getBoundingClientRect(); return b && b.width > 150 && b.left >= 0 && b.right <= 360; });
    await p.reload();
    await first.waitFor();
    await p.waitForFunction(() => { const b = document.querySelector('.node')?.getBoundingClientRect(); return b && b.width > 150 && b.left >= 0; });
    await p.getByRole('button', { name: 'Workflow', exact: true }).click();
    await p.getByRole('menuitem', { name: 'Show all' }).click();
    await p.waitForFunction(() => [...document.querySelectorAll('.node')].every((n) => n.getBoundingClientRect().right <= 360));
    assert.deepEqual(seen.problems, []);
    await seen.context.close();
  });

  it('a workflow is built with keys alone', async () => {
    await empty();
    await page.locator('main').focus();
    for (const words of ['load checkpoint', 'clip text encode']) {
      await page.keyboard.press('Space');
      await page.getByLabel('Find a node').waitFor();
      await page.keyboard.type(words);
      await page.keyboard.press('Enter');
      await page.getByLabel('Find a node').waitFor({ state: 'detached' });
    }
    assert.equal(await nodes(), 2);
    const link = page.getByRole('button', { name: 'Link clip' });
    await link.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('menuitemradio', { name: 'Load Checkpoint #1: CLIP' }).waitFor();
    assert.equal(await page.getByRole('menuitemradio').count(), 2, 'only what fits');
    assert.deepEqual(await axe(page), []);
    await page.keyboard.press('Enter');
    await page.locator('.svelte-flow__edge').waitFor({ state: 'attached' });
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Link clip');
    await page.keyboard.press('Enter');
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    await page.locator('.svelte-flow__edge').waitFor({ state: 'detached' });
  });

  it('what opens is clean: the search, the menu, the panel, at three widths', async () => {
    const found = [];
    for (const [width, scheme] of [[768, 'light'], [360, 'dark'], [1440, 'dark']]) {
      const seen = await visitor(browser, server, { viewport: { width, height: 800 }, colorScheme: scheme, reducedMotion: 'reduce', storageState: await ada.context.storageState() });
      const p = seen.page;
      const check = async (what) => found.push(...(await axe(p)).map((v) => `${what} ${width} ${scheme} ${v}`));
      await p.goto('/studio');
      await p.getByLabel('Workflow file').setInputFiles({ name: 'flow.json', mimeType: 'application/json', buffer: Buffer.from(flow()) });
      await p.locator('.node').first().waitFor();
      await check('nodes');
      await p.getByRole('button', { name: 'Add a node' }).first().click();
      await p.getByLabel('Find a node').fill('image');
      await check('search');
      await p.keyboard.press('Escape');
      await p.getByRole('button', { name: 'Workflow', exact: true }).click();
      await check('menu');
      await p.keyboard.press('Escape');
      await p.getByRole('button', { name: 'Jobs and pictures' }).click();
      await p.getByRole('complementary', { name: 'Jobs and pictures' }).locator('img').first().waitFor();
      await check('panel');
      assert.deepEqual(seen.problems, []);
      await seen.context.close();
    }
    assert.deepEqual(found, []);
  });

  it('nothing went wrong in the page meanwhile', async () => {
    assert.deepEqual(ada.problems, []);
    assert.equal((await api(page, 'GET', '/api/v1/auths/')).data.role, 'admin');
  });
});
