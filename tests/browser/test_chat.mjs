// What people do with chats beside asking: files, prompts, folders, versions, thoughts, models, pictures from pictures.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { administrator, answer, api, axe, dropFiles, launch, ROOT, send, Server, visitor } from './rig.mjs';

const MODEL = 'smollm2:135m';
const SHORT = { temperature: 0, num_predict: 8 };
// The template has written the first word of the answer, so all that follows is thought.
const THINKS = 'TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n<think>\n"""\n';
// A registry of our own, as the API tests have it, behind TLS: what is asked for on standard input is its speed.
const REGISTRY = `import sys, ssl
from tests.api.registry import Registry
with Registry() as r:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1] + "/cert", sys.argv[1] + "/key")
    r.server.socket = context.wrap_socket(r.server.socket, server_side=True)
    r.rate = 40000
    r.store("library/tiny", [("model", bytes(range(256)) * 2000)])
    print(r.host, flush=True)
    for line in sys.stdin:
        r.rate = int(line)
`;

let server, browser, ada, page, registry, host;
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'hob-browser-files-'));
const message = () => page.getByLabel('Message', { exact: true });
const item = (name) => page.getByRole('menuitem', { name });

/** A chat with one short answer, on the page. */
async function chat(text, { model = MODEL, params = SHORT } = {}) {
  const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model, params, title: text })).data;
  await page.goto(`/c/${id}`);
  await send(page, text);
  await answer(page);
  return id;
}
async function chatMenu(title) {
  const row = page.locator('aside li', { hasText: title });
  await row.hover();
  await row.getByRole('button', { name: 'Chat actions' }).click();
}
const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent?.trim());

before(async () => {
  const names = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', ...names, '-keyout', `${scratch}/key`, '-out', `${scratch}/cert`], { stdio: 'ignore' });
  registry = spawn('python3', ['-c', REGISTRY, scratch], { cwd: ROOT, stdio: ['pipe', 'pipe', 'inherit'] });
  [host] = String((await once(registry.stdout, 'data'))[0]).split('\n');
  server = await new Server({ HOB_REGISTRIES: '127.0.0.1', SSL_CERT_FILE: `${scratch}/cert` }).start();
  await server.createModels();
  await server.create('thinker', THINKS, MODEL);
  browser = await launch();
  ada = await administrator(browser, server);
  page = ada.page;
}, { timeout: 120000 });

after(async () => {
  await browser?.close();
  await server?.finish();
  registry?.stdin.end();
  fs.rmSync(scratch, { recursive: true, force: true });
});

describe('chats', { timeout: 300000 }, () => {
  it('a model is pulled with progress, and the pull can be cancelled', async () => {
    const name = `${host}/library/tiny`;
    await page.getByLabel('Model', { exact: true }).click();
    await page.getByLabel('Find or pull').fill(name);
    await page.getByRole('button', { name: `Pull “${name}”` }).click();
    const bar = page.getByRole('progressbar', { name });
    await page.waitForFunction(() => { const p = document.querySelector('.pulling progress'); return p && p.max > 1 && p.value > 0 && p.value < p.max; });
    await page.getByRole('button', { name: 'Cancel' }).click();
    await bar.waitFor({ state: 'detached' });
    assert.equal((await api(page, 'GET', '/api/models')).data.data.some((m) => m.id.includes('tiny')), false);
    registry.stdin.write('100000000\n');
    await page.getByRole('button', { name: `Pull “${name}”` }).click();
    await page.locator('.pulling', { hasText: 'success' }).waitFor();
    await page.keyboard.press('Escape');
    assert.equal(await focused(), 'Model');
  });

  it('thoughts are folded away, and can be read', async () => {
    await chat('What is two and two?', { model: 'thinker' });
    const thought = page.locator('article.last details.thought');
    await thought.waitFor();
    assert.equal(await thought.evaluate((d) => d.open), false);
    assert.equal(await thought.locator('.prose').isVisible(), false);
    await thought.locator('summary').click();
    assert.ok((await thought.locator('.prose').innerText()).length > 3);
    await page.reload();
    await thought.waitFor();
    assert.equal(await thought.evaluate((d) => d.open), false);
  });

  it('files come along: chosen, dropped, and again by #', async () => {
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL, params: SHORT })).data;
    await page.goto(`/c/${id}`);
    await message().waitFor();
    await page.getByLabel('Files', { exact: true }).setInputFiles({ name: 'poem.txt', mimeType: 'text/plain', buffer: Buffer.from('The heron waits.') });
    await dropFiles(page, 'main', [['list.md', 'text/markdown', Buffer.from('- one\n- two\n')]]);
    await page.getByRole('button', { name: 'Remove list.md' }).waitFor();
    await page.getByRole('button', { name: 'Remove poem.txt' }).waitFor();
    await send(page, 'What waits?');
    await answer(page);
    const mine = page.locator('article.mine');
    assert.deepEqual((await mine.locator('.files a').allInnerTexts()).map((x) => x.split('\n')[0]).sort(), ['list.md', 'poem.txt']);
    assert.equal(await page.getByRole('button', { name: 'Remove poem.txt' }).count(), 0, 'sent once');
    await message().pressSequentially('#poe');
    const choice = page.getByRole('option', { name: /poem\.txt/ });
    await choice.waitFor();
    assert.equal(await message().getAttribute('aria-activedescendant'), await choice.getAttribute('id'));
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Remove poem.txt' }).waitFor();
    assert.equal(await message().inputValue(), '');
  });

  it('prompts are kept, and asked for with /', async () => {
    await page.goto('/settings/prompts');
    await page.getByRole('button', { name: 'New prompt' }).click();
    await page.getByLabel('Command').fill('translate');
    await page.getByLabel('Title').fill('Into another language');
    await page.getByLabel('Text').fill('Translate to {{language}}: herons');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('/translate').waitFor();
    assert.equal(await focused(), 'New prompt', 'a dialog gives the focus back');
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await message().pressSequentially('/tra');
    await page.getByRole('option', { name: /translate/ }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByLabel('language').fill('Danish');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('[data-composer]').value === 'Translate to Danish: herons');
  });

  it('versions of an answer: regenerated, paged, changed, gone on with, deleted', async () => {
    const id = await chat('Name a bird.');
    const last = page.locator('article.last');
    const before = await last.locator('.prose').innerText();
    await last.getByRole('button', { name: 'Copy', exact: true }).click();
    assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trim().split(/\s+/)[0], before.trim().split(/\s+/)[0]);
    await last.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Edited text').fill('A **kestrel**.');
    await page.getByRole('button', { name: 'Save' }).click();
    await last.locator('strong', { hasText: 'kestrel' }).waitFor();
    await last.getByRole('button', { name: 'Regenerate' }).click();
    await last.getByText('2/2').waitFor();
    await answer(page);
    await last.getByRole('button', { name: 'Previous version' }).click();
    await last.locator('strong', { hasText: 'kestrel' }).waitFor();
    assert.equal(await last.getByRole('button', { name: 'Previous version' }).isDisabled(), true);
    const going = page.waitForResponse(/\/continue$/);
    await last.getByRole('button', { name: 'Continue' }).click();
    assert.equal((await going).status(), 200);
    await answer(page);
    assert.ok((await last.locator('.prose').innerText()).includes('kestrel'));
    await last.getByRole('button', { name: 'More' }).click();
    await item('Delete from here on').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.locator('strong', { hasText: 'kestrel' }).waitFor({ state: 'detached' });
    const kept = (await api(page, 'GET', `/api/v1/chats/${id}/thread`)).data.messages;
    assert.equal(kept.filter((m) => m.role === 'assistant').length, 1);
  });

  it('folders: made and chosen from a menu, by keys, by dragging', async () => {
    await chat('About owls');
    await chatMenu('About owls');
    await item('Move to folder').click();
    await item('New folder').click();
    await page.getByLabel('Folder', { exact: true }).fill('Birds');
    await page.keyboard.press('Enter');
    const folder = page.getByRole('group', { name: 'Birds' });
    await folder.getByText('About owls').waitFor();
    await chatMenu('About owls');
    await page.keyboard.press('m');
    await page.keyboard.press('ArrowRight');
    await page.getByRole('menuitemradio', { name: 'Birds', checked: true }).waitFor();
    await page.keyboard.press('ArrowLeft');
    await item('Move to folder').press('Enter');
    await page.keyboard.press('n');
    await page.keyboard.press('Enter');
    await folder.getByText('About owls').waitFor({ state: 'detached' });
    await page.locator('aside a', { hasText: 'About owls' }).dragTo(folder);
    await folder.getByText('About owls').waitFor();
    // Folders lie in folders.
    const inner = page.getByRole('group', { name: 'At night' });
    const menu = async (of) => { await of.hover(); await of.getByRole('button', { name: 'Folder actions' }).click(); };
    const left = async (of) => (await of.boundingBox()).x;
    await api(page, 'POST', '/api/v1/folders/', { name: 'At night' });
    await menu(inner);
    await item('Move to folder').click();
    await page.getByRole('menuitemradio', { name: 'Birds' }).click();
    await page.waitForFunction(() => document.querySelector('aside [role=group][aria-label="At night"]')?.previousElementSibling?.getAttribute('aria-label') === 'Birds');
    assert.ok(await left(inner) > await left(folder));
    await menu(folder);
    await item('Move to folder').press('Enter');
    assert.equal(await page.getByRole('menuitemradio', { name: 'At night' }).count(), 0, 'not into what it holds');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    await folder.getByRole('button', { name: 'Birds' }).click();
    await inner.waitFor({ state: 'detached' });
    await folder.getByRole('button', { name: 'Birds' }).click();
    await menu(inner);
    await item('Move to folder').click();
    await page.getByRole('menuitemradio', { name: 'No folder' }).click();
    await page.waitForFunction(() => document.querySelector('aside [role=group][aria-label="At night"]')?.nextElementSibling?.getAttribute('aria-label') === 'Birds');
    assert.equal(await left(inner), await left(folder));
  });

  it('archived, brought back, exported and imported', async () => {
    await chatMenu('About owls');
    const download = page.waitForEvent('download');
    await item('Export as JSON').click();
    const file = await (await download).path();
    await chatMenu('About owls');
    await item('Archive').click();
    await page.locator('aside a', { hasText: 'About owls' }).waitFor({ state: 'detached' });
    await page.goto('/settings/data');
    await page.locator('li', { hasText: 'About owls' }).getByRole('button', { name: 'Bring back' }).click();
    await page.locator('aside a', { hasText: 'About owls' }).waitFor();
    await page.getByLabel('Chats to import').setInputFiles({ name: 'chat.json', mimeType: 'application/json', buffer: fs.readFileSync(file) });
    await page.getByText('1 chats imported').waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll('aside li')].filter((x) => x.textContent.includes('About owls')).length === 2);
    await page.locator('aside a', { hasText: 'About owls' }).first().click();
    await page.locator('article.mine', { hasText: 'About owls' }).waitFor();
  });

  it('a picture from an attached picture', async () => {
    const png = await page.evaluate(() => {
      const c = document.createElement('canvas');
      c.width = c.height = 64;
      const x = c.getContext('2d');
      x.fillStyle = '#e33';
      x.fillRect(8, 8, 48, 48);
      return c.toDataURL('image/png').split(',')[1];
    });
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByLabel('Files', { exact: true }).setInputFiles({ name: 'square.png', mimeType: 'image/png', buffer: Buffer.from(png, 'base64') });
    await page.getByRole('button', { name: 'Remove square.png' }).waitFor();
    await page.getByRole('button', { name: 'Picture mode' }).click();
    await page.getByRole('button', { name: 'Picture settings' }).click();
    for (const [name, value] of [['Width', '64'], ['Height', '64'], ['Steps', '3'], ['Strength', '0.7'], ['Seed', '9007199254740993']]) await page.getByLabel(name, { exact: true }).fill(value);
    await send(page, 'a red apple');
    await answer(page, 60000);
    const img = page.locator('article.last figure img');
    await img.waitFor();
    await page.waitForFunction(() => document.querySelector('article.last figure img')?.naturalWidth === 64);
    await page.locator('article.last').getByText('9007199254740993').waitFor();
    await page.getByRole('button', { name: 'Open in studio' }).click();
    await page.locator('.node', { hasText: 'Load Image' }).waitFor();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('seed', { exact: true }).inputValue(), '9007199254740993');
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('denoise', { exact: true }).inputValue(), '0.7');
  });

  it('what opens is clean too: dialogs and menus, at three widths, light and dark', async () => {
    const id = await chat('Ask once.');
    const found = [];
    for (const [width, scheme] of [[768, 'light'], [768, 'dark'], [360, 'light'], [1440, 'dark']]) {
      const seen = await visitor(browser, server, { viewport: { width, height: 800 }, colorScheme: scheme, reducedMotion: 'reduce', storageState: await ada.context.storageState() });
      const p = seen.page;
      const check = async (what) => found.push(...(await axe(p)).map((v) => `${what} ${width} ${scheme} ${v}`));
      await p.goto(`/c/${id}`);
      await p.locator('article.last').waitFor();
      await p.keyboard.press('Control+k');
      await p.getByLabel('Search text').fill('ask');
      await p.getByRole('option').first().waitFor();
      await check('search');
      await p.keyboard.press('Escape');
      await p.keyboard.press('Control+/');
      await p.getByRole('dialog').waitFor();
      await check('shortcuts');
      await p.keyboard.press('Escape');
      await p.getByLabel('Model', { exact: true }).click();
      await check('models');
      await p.keyboard.press('Escape');
      await p.locator('article.last').getByRole('button', { name: 'More' }).click();
      await check('menu');
      await p.keyboard.press('Escape');
      for (const [key, what] of [['/', 'prompts'], ['#', 'knowledge']]) {
        await p.getByLabel('Message', { exact: true }).fill(key);
        await p.getByRole('option').first().waitFor();
        await check(what);
      }
      await p.getByLabel('Message', { exact: true }).fill('');
      await p.getByRole('button', { name: 'Chat settings' }).click();
      await p.getByLabel('System prompt').waitFor();
      await check('chat settings');
      await p.goto('/settings/data');
      await p.getByRole('button', { name: 'Delete all chats' }).click();
      await check('question');
      assert.deepEqual(seen.problems, []);
      await seen.context.close();
    }
    assert.deepEqual(found, []);
  });

  it('all of it in German', async () => {
    const seen = await visitor(browser, server, { locale: 'de-DE', storageState: await ada.context.storageState() });
    const p = seen.page;
    await p.goto('/');
    await p.getByLabel('Nachricht', { exact: true }).waitFor();
    assert.equal(await p.evaluate(() => document.documentElement.lang), 'de');
    const texts = [];
    for (const url of ['/', '/studio', '/studio/form', '/knowledge', '/machine', '/settings/account', '/settings/presets', '/settings/keys', '/settings/data', '/settings/users', '/settings/server']) {
      await p.goto(url);
      await p.locator('main :is(h1, h2, textarea)').first().waitFor();
      texts.push(...await p.locator('button, h1, h2, th, label').evaluateAll((all) => all.map((x) => x.getAttribute('aria-label') ?? x.textContent.trim())));
    }
    const english = /\b(the|new|delete|save|open|close|search|upload|settings|chats?|send|message|folder|with)\b/i;
    const names = /^(Chat|Name|Chats|Ada Lovelace|About owls|Ask once\.|Name a bird\.|.*\?)$/;
    assert.deepEqual([...new Set(texts.filter((x) => english.test(x) && !names.test(x) && !/Chat|heron|apple/i.test(x)))], []);
    await p.setViewportSize({ width: 360, height: 740 });
    await p.goto('/studio');
    await p.getByRole('button', { name: 'Einreihen' }).waitFor();
    assert.equal(await p.evaluate(() => [...document.querySelectorAll('.studio > header button')].filter((x) => x.getBoundingClientRect().right > innerWidth).length), 0);
    await seen.context.close();
  });

  it('a server that is gone is told on the page, and its return too', async () => {
    await page.goto('/knowledge');
    await page.locator('main h1').waitFor();
    await server.stop();
    await page.getByText('The server does not answer. Trying again …').waitFor();
    await server.start();
    await page.getByText('The server does not answer. Trying again …').waitFor({ state: 'detached' });
  });

  it('nothing went wrong in the page meanwhile', () => {
    assert.deepEqual(ada.problems.filter((p) => !/ERR_CONNECTION|EventSource|WebSocket/.test(p)), []);
  });
});
