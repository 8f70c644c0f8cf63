// The whole of the web app as people use it, in order: each test goes on from what the one before left.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import zlib from 'node:zlib';
import { answer, api, axe, launch, send, Server, signIn, visitor } from './rig.mjs';

const ADA = ['ada@example.org', 'correct horse battery'];
const BOB = ['bob@example.org', 'another long password'];
const EVIL = `"><img src=x onerror=window.__xss=1><script>window.__xss=2</script>\${window.__xss=3}`;
const STORY = 'Tell me a very long story about the sea, with many details.';

let server, browser, ada, page;
let chatId;
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'hob-browser-files-'));
const file = (name, text) => { const p = path.join(scratch, name); fs.writeFileSync(p, text); return p; };

/** A chat whose answer is being written for a while: greedy, this story goes round in circles and has no end. */
async function endless() {
  const chat = (await api(page, 'POST', '/api/v1/chats/new', { model: 'smollm2:135m' })).data.id;
  await api(page, 'POST', `/api/v1/chats/${chat}/messages`, { content: STORY, params: { temperature: 0, num_predict: 3000 } });
  return chat;
}

before(async () => {
  server = await new Server().start();
  await server.createModels();
  browser = await launch();
  ada = await visitor(browser, server);
  page = ada.page;
}, { timeout: 120000 });

after(async () => {
  await browser?.close();
  await server?.finish();
  fs.rmSync(scratch, { recursive: true, force: true });
});

describe('the web app', { timeout: 400000 }, () => {
  it('weighs at most 300 KB until one can chat', async () => {
    let bytes = 0;
    const seen = (r) => { if (r.url().startsWith(server.url) && !/\/api\//.test(r.url())) sizes.push(r); };
    const sizes = [];
    page.on('response', seen);
    await page.goto('/');
    await page.getByRole('button', { name: 'Create account' }).waitFor();
    page.off('response', seen);
    for (const r of sizes) bytes += zlib.gzipSync(await r.body(), { level: 6 }).length;
    assert.ok(sizes.length >= 3, 'page, script and style were loaded');
    assert.ok(bytes <= 300 * 1024, `${bytes} bytes`);
    const scripts = await page.locator('script:not([src]), style').count();
    assert.equal(scripts, 0, 'no script and no style in the page itself');
  });

  it('first run: the first account is the administrator', async () => {
    await page.getByLabel('Name').fill('Ada Lovelace');
    await page.getByLabel('Email').fill(ADA[0]);
    await page.getByLabel('Password').fill('short');
    await page.getByRole('button', { name: 'Create account' }).click();
    assert.equal(await page.getByLabel('Message', { exact: true }).count(), 0, 'a short password is not taken');
    await page.getByLabel('Password').fill(ADA[1]);
    await page.getByRole('button', { name: 'Create account' }).click();
    await page.getByLabel('Message', { exact: true }).waitFor();
    assert.equal((await api(page, 'GET', '/api/v1/auths/')).data.role, 'admin');
    await page.getByLabel('Model', { exact: true }).filter({ hasText: 'smollm2' }).waitFor();
  });

  it('a chat: the answer is written, its speed is told, and it is kept', async () => {
    await page.getByRole('button', { name: 'Chat settings' }).click();
    await page.getByLabel('Longest answer').fill('60');
    await page.getByLabel('Longest answer').press('Tab');
    await page.getByRole('button', { name: 'Chat settings' }).click();
    await send(page, 'Say hello to the herons.');
    await page.waitForURL(/\/c\/[\w-]{36}$/);
    chatId = page.url().split('/c/')[1];
    const a = await answer(page);
    assert.match(await a.innerText(), /tokens\/s/);
    assert.equal((await api(page, 'GET', `/api/v1/chats/${chatId}/thread`)).data.params.num_predict, 60);
    await page.reload();
    await page.getByText('Say hello to the herons.').first().waitFor();
    await page.getByRole('navigation').first().waitFor();
    await page.locator(`aside a[href="/c/${chatId}"]`).waitFor();
  });

  it('a reload while it is written loses and doubles nothing', async () => {
    await page.goto(`/c/${await endless()}`);
    await page.locator('article.last[data-state="writing"] .prose').waitFor();
    await page.waitForFunction(() => (document.querySelector('article.last .prose')?.textContent ?? '').length > 60);
    await page.reload();
    await page.locator('article.last .prose').waitFor();
    const early = await page.locator('article.last .prose').innerText();
    assert.ok(early.length > 20, 'the text so far is there at once');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('article.last:not(.mine)[data-state="stopped"], article.last:not(.mine)[data-state="done"]').waitFor();
    const id = page.url().split('/c/')[1];
    const kept = (await api(page, 'GET', `/api/v1/chats/${id}/thread`)).data;
    const last = kept.messages.find((m) => m.id === kept.current_id);
    const squeeze = (s) => s.replace(/\W+/g, '');
    assert.equal(squeeze(await page.locator('article.last .prose').innerText()), squeeze(last.content));
  });

  it('two tabs show one answer, and either may stop it', async () => {
    await page.goto(`/c/${await endless()}`);
    const other = await ada.context.newPage();
    await other.goto(page.url());
    await other.locator('article.last[data-state="writing"] .prose').waitFor();
    await other.getByRole('button', { name: 'Stop' }).click();
    for (const p of [page, other]) await p.locator('article.last[data-state="stopped"]').waitFor();
    const [a, b] = await Promise.all([page, other].map((p) => p.locator('article.last .prose').innerText()));
    assert.equal(a, b);
    await other.close();
  });

  it('an edited question is a branch; the pager shows both', async () => {
    await page.goto(`/c/${chatId}`);
    await page.locator('article.mine').first().hover();
    await page.locator('article.mine').getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Edited text').fill('Say hello to the owls.');
    await page.getByRole('button', { name: 'Ask again' }).click();
    await answer(page);
    await page.locator('article.mine').getByText('owls').waitFor();
    await page.locator('article.mine').getByRole('button', { name: 'Previous version' }).click();
    await page.locator('article.mine').getByText('herons').waitFor();
    await page.locator('article.last').getByRole('button', { name: 'Regenerate' }).click();
    await answer(page);
    await page.locator('article.last').getByText('2/2').waitFor();
    await page.locator('article.last').getByRole('button', { name: 'Good answer' }).click();
    await page.locator('article.last').getByRole('button', { name: 'Good answer', pressed: true }).waitFor();
  });

  it('search finds words of messages and shows where', async () => {
    await page.keyboard.press('Control+k');
    await page.getByLabel('Search text').fill('herons');
    const told = (await api(page, 'GET', '/api/v1/chats/search?text=herons')).data;
    assert.ok(told.some((h) => h.id === chatId), `the server finds it: ${JSON.stringify(told).slice(0, 500)}`);
    const hit = page.getByRole('option').filter({ has: page.locator('mark') }).first();
    await hit.waitFor();
    assert.match(await hit.innerText(), /herons/i);
    await hit.click();
    await page.waitForURL(new RegExp(chatId));
  });

  it('chats are renamed, pinned, put into folders and exported', async () => {
    await page.locator('li.current').getByRole('button', { name: 'Chat actions' }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByLabel('Title').fill('Herons and owls');
    await page.keyboard.press('Enter');
    await page.locator('aside').getByText('Herons and owls').waitFor();
    await page.locator('li.current').getByRole('button', { name: 'Chat actions' }).click();
    await page.getByRole('menuitem', { name: 'Pin' }).click();
    await page.getByRole('heading', { name: 'Pinned' }).waitFor();
    await page.locator('li.current').getByRole('button', { name: 'Chat actions' }).click();
    const download = page.waitForEvent('download');
    await page.getByRole('menuitem', { name: 'Export as Markdown' }).click();
    assert.match(fs.readFileSync(await (await download).path(), 'utf8'), /herons/);
  });

  it('chats of ChatGPT are imported with their branches', async () => {
    const node = (id, parent, children, role, text) => ({ id, parent, children, message: role && { id, author: { role }, create_time: 1700000000, content: { content_type: 'text', parts: [text] } } });
    const mapping = { r: node('r', null, ['q'], null), q: node('q', 'r', ['a', 'b'], 'user', 'What is a kestrel?'),
      a: node('a', 'q', [], 'assistant', 'A small falcon.'), b: node('b', 'q', [], 'assistant', 'A bird that hovers.\n\n```python\nreturn 1\n```\n\n$$x^2$$\n\n[more](https://example.org)\n\n| a | b |\n|--|--:|\n| 1 | 2 |') };
    const f = file('conversations.json', JSON.stringify([{ title: 'Kestrels', create_time: 1700000000, update_time: 1700000100, mapping, current_node: 'b' }]));
    await page.goto('/settings/data');
    await page.getByLabel('Chats to import').setInputFiles(f);
    await page.getByText('1 chats imported').waitFor();
    await page.locator('aside').getByText('Kestrels').click();
    await page.getByText('A bird that hovers.').waitFor();
    await page.locator('.prose .hljs-keyword', { hasText: 'return' }).waitFor();
    await page.locator('.prose .katex').first().waitFor();
    assert.match(await page.locator('.prose a').getAttribute('rel'), /noopener/);
    await page.locator('.prose td.right').waitFor();
    await page.locator('article.last').getByText('2/2').waitFor();
  });

  it('knowledge: a file is read, found, and cited in an answer', async () => {
    await page.goto('/knowledge');
    await page.getByRole('button', { name: 'New collection' }).click();
    await page.getByLabel('Name').fill('Kitchen');
    await page.keyboard.press('Enter');
    await page.getByText('No files in here').waitFor();
    await page.getByLabel('Files').setInputFiles(file('notes.md', '# Rules\n\nThe secret spice of the house is called zorbetine. It is kept in the blue tin.\n'));
    await page.locator('tr', { hasText: 'notes.md' }).getByText('ready').waitFor({ timeout: 30000 });
    await page.getByLabel('Question').fill('Which spice is secret?');
    await page.getByRole('button', { name: 'Find passages' }).click();
    await page.locator('blockquote', { hasText: 'zorbetine' }).waitFor();
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByLabel('Message', { exact: true }).pressSequentially('#Kit');
    await page.getByRole('option', { name: /Kitchen/ }).click();
    await send(page, 'What is the secret spice called?');
    await answer(page);
    await page.getByRole('group', { name: 'Sources' }).getByRole('button').first().click();
    await page.locator('blockquote', { hasText: 'zorbetine' }).waitFor();
  });

  it('a picture is made in a chat, changed, and opened in the studio', async () => {
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByRole('button', { name: 'Picture mode' }).click();
    await page.getByRole('button', { name: 'Picture settings' }).click();
    await page.getByLabel('Steps').fill('4');
    await page.getByLabel('Seed', { exact: true }).fill('7');
    await send(page, 'a red apple');
    await answer(page, 60000);
    const img = page.locator('article.last figure img');
    await img.waitFor();
    await page.waitForFunction(() => (document.querySelector('article.last figure img'))?.naturalWidth > 0);
    await page.getByRole('button', { name: 'Open in studio' }).click();
    await page.locator('.node', { hasText: 'KSampler' }).waitFor();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('seed', { exact: true }).inputValue(), '7');
  });

  it('studio: a workflow is loaded, changed, undone, queued, and its picture is seen', async () => {
    await page.goto('/studio');
    const g = (id, type, inputs) => [id, { class_type: type, inputs }];
    const flow = Object.fromEntries([
      g('1', 'CheckpointLoaderSimple', { ckpt_name: 'emoji-sd.safetensors' }), g('2', 'CLIPTextEncode', { text: 'a lemon', clip: ['1', 1] }),
      g('3', 'CLIPTextEncode', { text: '', clip: ['1', 1] }), g('4', 'EmptyLatentImage', { width: 64, height: 64, batch_size: 1 }),
      g('5', 'KSampler', { model: ['1', 0], positive: ['2', 0], negative: ['3', 0], latent_image: ['4', 0], seed: 5, steps: 9, cfg: 3, sampler_name: 'euler', scheduler: 'normal', denoise: 1 }),
      g('6', 'VAEDecode', { samples: ['5', 0], vae: ['1', 2] }), g('7', 'SaveImage', { images: ['6', 0], filename_prefix: 'browser' })]);
    await page.getByLabel('Workflow file').setInputFiles(file('lemon.json', JSON.stringify(flow)));
    const sampler = page.locator('.node', { hasText: 'KSampler' });
    await sampler.waitFor();
    await page.locator('.svelte-flow__edge').nth(8).waitFor({ state: 'attached' });
    assert.equal(await page.locator('.svelte-flow__edge').count(), 9);
    await sampler.getByLabel('steps', { exact: true }).fill('3');
    await sampler.getByLabel('steps', { exact: true }).blur();
    await page.waitForTimeout(400);
    await page.getByRole('button', { name: 'Undo' }).click();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('steps', { exact: true }).inputValue(), '9');
    await page.getByRole('button', { name: 'Redo' }).click();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('steps', { exact: true }).inputValue(), '3');
    await page.getByRole('button', { name: 'Queue' }).click();
    const made = page.locator('.node', { hasText: 'Save Image' }).locator('.shots img');
    await made.waitFor({ timeout: 60000 });
    await page.waitForFunction(() => document.querySelector('.node .shots img')?.naturalWidth === 64);
    // What was made holds the workflow: it opens again from the picture itself.
    const png = await page.evaluate(async () => Array.from(new Uint8Array(await (await fetch(document.querySelector('.node .shots a').href)).arrayBuffer())));
    await page.getByRole('button', { name: 'Workflow', exact: true }).click();
    await page.getByRole('menuitem', { name: 'New' }).click();
    await page.getByText('An empty canvas').waitFor();
    await page.getByLabel('Workflow file').setInputFiles(file('made.png', Buffer.from(png)));
    await page.locator('.node', { hasText: 'KSampler' }).waitFor();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('steps', { exact: true }).inputValue(), '3');
  });

  it('studio: nodes are found by words, refused graphs say where', async () => {
    await page.getByRole('button', { name: 'Workflow', exact: true }).click();
    await page.getByRole('menuitem', { name: 'New' }).click();
    await page.getByRole('button', { name: 'Add a node' }).first().click();
    await page.getByLabel('Find a node').fill('save image');
    await page.keyboard.press('Enter');
    await page.locator('.node', { hasText: 'Save Image' }).waitFor();
    await page.getByRole('button', { name: 'Queue' }).click();
    await page.getByRole('alert').first().waitFor();
    await page.locator('.node.bad').waitFor();
  });

  it('the simple form is a workflow underneath', async () => {
    await page.goto('/studio/form');
    await page.getByLabel('Prompt', { exact: true }).fill('a green leaf');
    await page.getByRole('button', { name: '128×128' }).click();
    await page.getByLabel('Steps').fill('2');
    await page.getByRole('button', { name: 'Open as nodes' }).click();
    await page.locator('.node', { hasText: 'KSampler' }).waitFor();
    assert.equal(await page.locator('.node', { hasText: 'KSampler' }).getByLabel('steps', { exact: true }).inputValue(), '2');
  });

  it('the log goes on, each line once', async () => {
    await page.goto('/machine');
    await page.locator('summary', { hasText: 'Log' }).click();
    const log = page.getByRole('log', { name: 'Log' });
    await log.getByText('chat API on').waitFor();
    for (let i = 0; i < 2; i++) await page.waitForResponse((r) => /logs\?after=[1-9]/.test(r.url()));
    const lines = await log.locator('> div').allInnerTexts();
    assert.equal(lines.filter((x) => x.includes('chat API on')).length, 1);
    assert.ok(lines.every((x) => /^\d+:\d\d:\d\d/.test(x)), lines[0]);
  });

  it('the machine page is live', async () => {
    await page.goto('/machine');
    await page.getByText('Memory', { exact: true }).waitFor();
    await page.locator('canvas').first().waitFor();
    await page.locator('tr', { hasText: 'smollm2' }).waitFor();
  });

  it('texts from anywhere never run', async () => {
    const chat = (await api(page, 'POST', '/api/v1/chats/new', { title: EVIL, model: 'smollm2:135m' })).data;
    await api(page, 'POST', `/api/v1/chats/${chat.id}/messages`, { content: EVIL, generate: false });
    const hostile = [EVIL, '[link](javascript:window.__xss=4)', '![x](https://example.invalid/a.png)', '```html\n' + EVIL + '\n```', `$\\href{javascript:window.__xss=5}{x}$`,
      '<svg/onload=window.__xss=6>', `| a | b |\n|--|--|\n| ${EVIL} | <iframe srcdoc="<script>parent.__xss=7</script>"> |`].join('\n\n');
    const f = file('evil.json', JSON.stringify([{ title: EVIL, mapping: { r: { id: 'r', parent: null, children: ['a'] },
      a: { id: 'a', parent: 'r', children: [], message: { id: 'a', author: { role: 'assistant' }, content: { content_type: 'text', parts: [hostile] } } } }, current_node: 'a' }]));
    await page.goto('/settings/data');
    await page.getByLabel('Chats to import').setInputFiles(f);
    await page.getByText('1 chats imported').waitFor();
    await api(page, 'POST', '/api/v1/folders/', { name: EVIL });
    await api(page, 'POST', '/api/v1/prompts/create', { command: '/evil', name: EVIL, title: EVIL, content: EVIL });
    const k = (await api(page, 'POST', '/api/v1/knowledge/create', { name: EVIL, description: EVIL })).data;
    await api(page, 'POST', '/api/v1/auths/update/profile', { name: EVIL });
    const listed = (await api(page, 'GET', '/api/v1/chats/')).data.filter((c) => c.title.includes('onerror'));
    assert.ok(listed.length >= 2, 'both chats are there');
    for (const url of ['/', ...listed.map((c) => `/c/${c.id}`), '/knowledge', `/knowledge/${k.id}`, '/settings/prompts', '/settings/account', '/settings/users', '/settings/data']) {
      await page.goto(url);
      await page.locator('main').waitFor();
      await page.waitForTimeout(350);
    }
    await page.goto('/');
    await page.getByLabel('Message', { exact: true }).fill('/ev');
    await page.getByRole('option', { name: /evil/ }).waitFor();
    assert.equal(await page.evaluate(() => window.__xss), undefined);
    assert.equal(await page.locator('iframe, main script, main img[src^="http"]').count(), 0);
    await api(page, 'POST', '/api/v1/auths/update/profile', { name: 'Ada Lovelace' });
  });

  it('a second user sees nothing of the first', async () => {
    await page.goto('/settings/users');
    await page.getByRole('button', { name: 'Add a user' }).click();
    await page.getByLabel('Name').fill('Bob');
    await page.getByLabel('Email').fill(BOB[0]);
    await page.getByLabel('Password').fill(BOB[1]);
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.locator('tr', { hasText: BOB[0] }).waitFor();
    const bob = await visitor(browser, server);
    await signIn(bob.page, ...BOB);
    await bob.page.getByText('Your chats will be listed here.').waitFor();
    await bob.page.goto(`/c/${chatId}`);
    await bob.page.getByRole('button', { name: 'Try again' }).waitFor();
    assert.equal(await bob.page.getByText('herons').count(), 0);
    const of = async (url) => (await api(page, 'GET', url)).data;
    const thread = await of(`/api/v1/chats/${chatId}/thread`);
    const files = await of('/api/v1/files/');
    const knowledge = await of('/api/v1/knowledge/');
    assert.ok(files.length && knowledge.length && thread.messages.length);
    const urls = [`/api/v1/chats/${chatId}`, `/api/v1/chats/${chatId}/thread`, `/api/v1/chats/${chatId}/export?format=md`, `/api/v1/chats/${chatId}/events`,
      ...thread.messages.map((m) => `/api/v1/chats/${chatId}/messages/${m.id}`), ...files.flatMap((f) => [`/api/v1/files/${f.id}`, `/api/v1/files/${f.id}/content`]),
      ...knowledge.map((k) => `/api/v1/knowledge/${k.id}`)];
    for (const url of urls) assert.equal((await api(bob.page, 'GET', url)).status, 404, url);
    assert.deepEqual(await (await api(bob.page, 'GET', '/api/v1/chats/search?text=herons')).data, []);
    assert.deepEqual((await api(bob.page, 'GET', '/comfy/history')).data, {});
    for (const url of ['/api/v1/users/', '/api/v1/auths/admin/config', '/api/v1/logs']) assert.ok([401, 403].includes((await api(bob.page, 'GET', url)).status), url);
    assert.equal(await bob.page.getByRole('link', { name: 'Users' }).count(), 0);
    assert.deepEqual(bob.problems, []);
    await bob.context.close();
  });

  it('axe finds nothing on any page, wide or narrow, light or dark', async () => {
    const found = [];
    for (const [width, scheme] of [[1440, 'light'], [360, 'dark']]) {
      const seen = await visitor(browser, server, { viewport: { width, height: 800 }, colorScheme: scheme, reducedMotion: 'reduce', storageState: await ada.context.storageState() });
      for (const url of ['/', `/c/${chatId}`, '/studio', '/studio/form', '/knowledge', '/machine', '/settings/account', '/settings/look', '/settings/presets',
        '/settings/prompts', '/settings/keys', '/settings/data', '/settings/users', '/settings/server']) {
        await seen.page.goto(url);
        await seen.page.waitForTimeout(350);
        found.push(...(await axe(seen.page)).map((v) => `${url} ${width} ${scheme} ${v}`));
        const wide = await seen.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        if (wide > 0) found.push(`${url} ${width}: ${wide} pixels too wide`);
      }
      assert.deepEqual(seen.problems, []);
      await seen.context.close();
    }
    const out = await visitor(browser, server);
    await out.page.goto('/');
    await out.page.getByRole('button', { name: 'Sign in' }).waitFor();
    found.push(...(await axe(out.page)));
    await out.context.close();
    assert.deepEqual(found, []);
  });

  it('speaks German when asked', async () => {
    await page.goto('/settings/look');
    await page.getByLabel('Language').selectOption('de');
    await page.getByRole('button', { name: 'Neuer Chat' }).first().waitFor();
    await page.getByLabel('Sprache').selectOption('en');
    await page.getByRole('button', { name: 'New chat' }).first().waitFor();
  });

  it('a killed server: the text is kept, and the answer says it was interrupted', async () => {
    const chat = await endless();
    await page.goto(`/c/${chat}`);
    await page.waitForFunction(() => (document.querySelector('article.last .prose')?.textContent ?? '').length > 500);
    await server.stop('SIGKILL');
    await server.start();
    await page.reload();
    await page.locator('article.last[data-state="interrupted"]').waitFor({ timeout: 30000 });
    assert.ok((await page.locator('article.last .prose').innerText()).length > 20);
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.locator('article.last[data-state="writing"], article.last[data-state="done"]').waitFor();
    const stop = page.getByRole('button', { name: 'Stop' });
    if (await stop.count()) await stop.click({ timeout: 3000 }).catch(() => {});
  });

  it('nothing went wrong in the page meanwhile', () => {
    assert.deepEqual(ada.problems.filter((p) => !/ERR_CONNECTION|EventSource|WebSocket/.test(p)), []);
  });
});
