// What lies beside the chats: other people's accounts, tags, the queue, knowledge read again, what is shared.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { administrator, answer, api, axe, launch, send, Server, signIn, visitor } from './rig.mjs';

const MODEL = 'smollm2:135m';
const BOB = ['bob@example.org', 'another long password'];

let server, browser, ada, page;
const button = (name, on = page) => on.getByRole('button', { name, exact: true });

/** A chat as an import brings it: what was asked, what was answered. */
async function imported(title, asked, answered) {
  const turn = (id, parent, children, role, text) => ({ id, parent, children, message: { id, author: { role }, content: { content_type: 'text', parts: [text] } } });
  const mapping = { r: { id: 'r', parent: null, children: ['u'] }, u: turn('u', 'r', ['a'], 'user', asked), a: turn('a', 'u', [], 'assistant', answered) };
  return (await api(page, 'POST', '/api/v1/chats/import', [{ title, mapping, current_node: 'a' }])).data.ids[0];
}

before(async () => {
  server = await new Server({ OLLAMA_NUM_PARALLEL: '1' }).start();
  await server.createModels();
  browser = await launch();
  ada = await administrator(browser, server);
  page = ada.page;
}, { timeout: 120000 });

after(async () => {
  await browser?.close();
  await server?.finish();
});

describe('without accounts', { timeout: 60000 }, () => {
  it('nothing on the page is about signing in', async () => {
    const alone = await new Server({ WEBUI_AUTH: 'False' }).start();
    const seen = await visitor(browser, alone);
    await seen.page.goto('/settings/account');
    await seen.page.getByText('This server asks nobody to sign in').waitFor();
    assert.equal(await seen.page.getByText('Password').count(), 0);
    await seen.page.getByRole('button', { name: 'You' }).click();
    await seen.page.getByRole('menuitem', { name: 'Settings' }).waitFor();
    assert.equal(await seen.page.getByRole('menuitem', { name: 'Sign out' }).count(), 0);
    await seen.page.goto('/');
    await seen.page.getByRole('heading', { name: 'What shall we make?' }).waitFor();
    assert.deepEqual(seen.problems, []);
    await seen.context.close();
    await alone.finish();
  });
});

describe('beside the chats', { timeout: 240000 }, () => {
  it('an administrator sets the password of another, whose sessions end', async () => {
    await api(page, 'POST', '/api/v1/auths/add', { name: 'Bob', email: BOB[0], password: BOB[1], role: 'user' });
    const bob = await visitor(browser, server);
    await signIn(bob.page, ...BOB);
    await page.goto('/settings/users');
    await button('Actions for Bob').click();
    await page.getByRole('menuitem', { name: 'Set password' }).click();
    await page.getByLabel('New password').fill('short');
    await button('Save').click();
    assert.equal(await page.getByRole('dialog').count(), 1, 'too short');
    await page.getByLabel('New password').fill(' a third, longer one ');
    await button('Save').click();
    await page.getByText('Saved.').waitFor();
    await bob.page.goto('/');
    await bob.page.getByRole('button', { name: 'Sign in' }).waitFor();
    await bob.page.getByLabel('Email').fill(BOB[0]);
    await bob.page.getByLabel('Password').fill(BOB[1]);
    await bob.page.getByRole('button', { name: 'Sign in' }).click();
    await bob.page.getByRole('alert').waitFor();
    await signIn(bob.page, BOB[0], ' a third, longer one ');
    await bob.context.close();
  });

  it('who waits is told the place in the queue, after a reload too', async () => {
    const chats = [];
    for (let i = 0; i < 3; i++) {
      const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL })).data;
      await api(page, 'POST', `/api/v1/chats/${id}/messages`, { content: 'Tell me a very long story about the sea, with many details.', params: { temperature: 0, num_predict: 3000 } });
      chats.push(id);
    }
    await page.goto(`/c/${chats[2]}`);
    await page.locator('article.last').getByText('Queued, place 2').waitFor();
    await api(page, 'POST', `/api/v1/chats/${chats[0]}/stop`);
    await page.locator('article.last').getByText('Queued, place 1').waitFor();
    await page.reload();
    await page.locator('article.last').getByText('Queued, place 1').waitFor();
    for (const id of chats) await api(page, 'POST', `/api/v1/chats/${id}/stop`);
    await page.locator('article.last[data-state="stopped"]').waitFor();
  });

  it('tags: given, searched for, taken away', async () => {
    const id = await imported('About owls', 'Who?', 'The owl.');
    await imported('About herons', 'Who else?', 'The heron.');
    await page.goto(`/c/${id}`);
    await button('Chat settings').click();
    await page.getByLabel('Tags').fill('Night Birds');
    await page.keyboard.press('Enter');
    await button('Remove Night Birds').waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('dialog').getByRole('button', { name: 'Night Birds' }).click();
    assert.equal(await page.getByLabel('Search text').inputValue(), 'tag:night_birds ');
    await page.getByRole('option', { name: /About owls/ }).waitFor();
    await page.waitForFunction(() => document.querySelectorAll('#hits [role=option]').length === 1);
    await page.getByLabel('Search text').fill('tag:night_birds heron');
    await page.getByText('Nothing found for').waitFor();
    await page.keyboard.press('Escape');
    await button('Remove Night Birds').click();
    await button('Remove Night Birds').waitFor({ state: 'detached' });
    assert.deepEqual((await api(page, 'GET', '/api/v1/chats/all/tags')).data, []);
  });

  it('who opens a chat can write at once, where there is a keyboard', async () => {
    for (const url of ['/', `/c/${await imported('Write on', 'a', 'b')}`]) {
      await page.goto(url);
      await page.waitForFunction(() => document.activeElement?.matches('textarea'));
      await page.keyboard.type('hello');
      assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'hello');
      await page.getByLabel('Message', { exact: true }).fill('');
    }
  });

  it('code is copied, tasks have boxes', async () => {
    const id = await imported('Marks', 'Show me', '```python\nprint(1)\n```\n\n- [x] done\n- [ ] open [x]\n');
    await page.goto(`/c/${id}`);
    await button('Copy code').click();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'print(1)');
    await page.locator('li.task', { hasText: '☑ done' }).waitFor();
    await page.locator('li.task', { hasText: '☐ open [x]' }).waitFor();
  });

  it('all files are read again when asked', async () => {
    const k = (await api(page, 'POST', '/api/v1/knowledge/create', { name: 'Birds', description: '' })).data;
    await page.goto(`/knowledge/${k.id}`);
    await page.getByLabel('Files', { exact: true }).setInputFiles({ name: 'herons.md', mimeType: 'text/markdown', buffer: Buffer.from('The heron eats seven fish. '.repeat(60)) });
    await page.getByText('ready').waitFor();
    const passages = async () => (await api(page, 'GET', `/api/v1/knowledge/${k.id}`)).data.files[0].n_chunks;
    const before = await passages();
    await api(page, 'POST', '/api/v1/auths/admin/config', { CHUNK_SIZE: 300, CHUNK_OVERLAP: 0 });
    await page.goto('/knowledge');
    await button('Read all files again').click();
    await button('Read again').click();
    await page.getByText('Reading again: 1 file').waitFor();
    await page.goto(`/knowledge/${k.id}`);
    await page.getByText('ready').waitFor();
    assert.ok(await passages() > before);
  });

  it('what a question draws on stays with it: asked again, and changed', async () => {
    const k = (await api(page, 'GET', '/api/v1/knowledge/')).data.find((x) => x.name === 'Birds');
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL, params: { temperature: 0, num_predict: 8 } })).data;
    await page.goto(`/c/${id}`);
    await page.getByLabel('Files', { exact: true }).setInputFiles({ name: 'poem.txt', mimeType: 'text/plain', buffer: Buffer.from('The heron waits.') });
    await button('Remove poem.txt').waitFor();
    await page.getByLabel('Message', { exact: true }).pressSequentially('#Bir');
    await page.getByRole('option', { name: /Birds/ }).waitFor();
    await page.keyboard.press('Enter');
    await send(page, 'How many fish does the heron eat?');
    await answer(page);
    await page.reload();
    const mine = page.locator('article.mine');
    await mine.getByText('Birds').waitFor();
    await page.locator('article.last').getByRole('button', { name: 'Regenerate' }).click();
    await page.locator('article.last').getByText('2/2').waitFor();
    await answer(page);
    await page.locator('article.last').getByRole('group', { name: 'Sources' }).waitFor();
    await mine.hover();
    await mine.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Edited text').fill('What eats fish?');
    await button('Ask again').click();
    await mine.getByText('2/2').waitFor();
    await answer(page);
    await page.locator('article.last').getByRole('group', { name: 'Sources' }).waitFor();
    await mine.getByText('Birds').waitFor();
    await mine.getByRole('link', { name: /poem\.txt/ }).waitFor();
    assert.ok(k.id);
  });

  it('a changed wish for a picture makes a picture', async () => {
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL })).data;
    await api(page, 'POST', `/api/v1/chats/${id}/pictures`, { prompt: 'a lemon', width: 64, height: 64, steps: 2 });
    await page.goto(`/c/${id}`);
    await page.locator('article.last figure img').waitFor({ timeout: 60000 });
    await page.locator('article.mine').hover();
    await page.locator('article.mine').getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Edited text').fill('a red apple');
    await button('Ask again').click();
    await page.locator('article.mine').getByText('2/2').waitFor();
    await page.locator('article.last figure img').waitFor({ timeout: 60000 });
    const made = (await api(page, 'GET', `/api/v1/chats/${id}/thread`)).data.messages.at(-1).picture.inputs;
    assert.deepEqual([made.prompt, made.width, made.steps], ['a red apple', 64, 2]);
  });

  it('pictures are counted', async () => {
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL })).data;
    const before = (await api(page, 'GET', '/api/v1/machine')).data.totals.pictures;
    await api(page, 'POST', `/api/v1/chats/${id}/pictures`, { prompt: 'a red apple', width: 64, height: 64, steps: 2, n: 2 });
    await page.goto(`/c/${id}`);
    await page.locator('article.last figure img').nth(1).waitFor({ timeout: 60000 });
    assert.equal((await api(page, 'GET', '/api/v1/machine')).data.totals.pictures, before + 2);
    await page.goto('/machine');
    await page.getByText(`, ${before + 2} pictures,`).waitFor();
  });

  it('each picture that waits can be cancelled; the gallery says that it was stopped', async () => {
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL })).data;
    for (const prompt of ['one apple', 'another apple']) await api(page, 'POST', `/api/v1/chats/${id}/pictures`, { prompt, width: 256, height: 256, steps: 200 });
    await page.goto(`/c/${id}`);
    await page.locator('article.last').getByText('Queued, place 2').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).first().click();
    await page.locator('article[data-state="stopped"]').waitFor();
    await page.locator('article.last').getByText(/^Step \d+ of 200/).waitFor();
    await page.reload();
    await page.locator('article.last').getByText(/^Step \d+ of 200/).waitFor();
    await page.locator('article.last').getByRole('button', { name: 'Cancel' }).click();
    await page.locator('article.last[data-state="stopped"]').waitFor();
    await page.goto('/studio');
    await button('Jobs and pictures').click();
    const panel = page.getByRole('complementary', { name: 'Jobs and pictures' });
    await panel.locator('li', { hasText: 'another apple' }).getByText('Stopped').waitFor();
    assert.equal(await panel.locator('.bad').count(), 0);
  });

  it('a shared chat is seen by others with its files and pictures, and by nobody once it ended', async () => {
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { model: MODEL, title: 'To be shared' })).data;
    await page.goto(`/c/${id}`);
    await page.getByLabel('Files', { exact: true }).setInputFiles({ name: 'poem.txt', mimeType: 'text/plain', buffer: Buffer.from('The heron waits.') });
    await page.getByRole('button', { name: 'Remove poem.txt' }).waitFor();
    await send(page, 'What waits?');
    await answer(page);
    await api(page, 'POST', `/api/v1/chats/${id}/pictures`, { prompt: 'a red apple', width: 64, height: 64, steps: 2 });
    await page.locator('article.last figure img').waitFor({ timeout: 60000 });
    const other = (await api(page, 'GET', '/api/v1/files/')).data.find((f) => f.name === 'herons.md').id;
    const row = page.locator('aside li', { hasText: 'To be shared' });
    await row.hover();
    await row.getByRole('button', { name: 'Chat actions' }).click();
    await page.getByRole('menuitem', { name: 'Share' }).click();
    await button('Create link').click();
    const link = await page.getByLabel('Link', { exact: true }).inputValue();
    const share = link.split('/s/')[1];
    const bob = await visitor(browser, server);
    await signIn(bob.page, BOB[0], ' a third, longer one ');
    await bob.page.goto(link);
    await bob.page.getByText('What waits?').waitFor();
    await bob.page.locator('img.made').scrollIntoViewIfNeeded(); // below a long answer it loads when it is near
    await bob.page.waitForFunction(() => document.querySelector('img.made')?.naturalWidth === 64);
    const file = await bob.page.getByRole('link', { name: /poem\.txt/ }).getAttribute('href');
    assert.deepEqual(await api(bob.page, 'GET', file), { status: 200, data: 'The heron waits.' });
    assert.deepEqual(await axe(bob.page), []);
    assert.equal((await api(bob.page, 'GET', `/api/v1/chats/share/${share}/files/${other}/content`)).status, 404, 'not in the chat');
    assert.equal((await api(bob.page, 'GET', `/api/v1/chats/${id}`)).status, 404);
    await button('Stop sharing').click();
    await button('Create link').waitFor();
    assert.equal((await api(bob.page, 'GET', file)).status, 404);
    await bob.page.reload();
    await bob.page.getByText('This chat does not open').waitFor();
    assert.deepEqual(bob.problems, []);
    await bob.context.close();
  });

  it('on a telephone wide code and tables scroll in their boxes, in the chat and where it is shared', async () => {
    const wide = `| What | How long | Why |\n|--|--|--|\n| a litre of water | 3 min 17 s | because the plate has 2 kW |\n\n\`\`\`\n${'x'.repeat(300)}\n\`\`\`\n`;
    const id = await imported('Wide', 'How wide?', wide);
    const { share_id } = (await api(page, 'POST', `/api/v1/chats/${id}/share`)).data;
    await page.setViewportSize({ width: 360, height: 740 });
    for (const url of [`/s/${share_id}`, `/c/${id}`]) {
      await page.goto(url);
      await page.locator('main td', { hasText: '3 min 17 s' }).waitFor();
      const out = await page.evaluate(() => [...document.querySelectorAll('main *')].filter((x) => !x.closest('pre, .table-box') && x.getBoundingClientRect().right > innerWidth).map((x) => x.className));
      assert.deepEqual(out, [], url);
      const lines = await page.evaluate(() => {
        const text = document.createRange();
        text.selectNodeContents(document.querySelectorAll('main td')[1]);
        return text.getClientRects().length;
      });
      assert.equal(lines, 1);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it('each chat keeps its draft: text, files and knowledge, elsewhere and after a reload', async () => {
    const [one, two] = [await imported('Draft one', 'a', 'b'), await imported('Draft two', 'c', 'd')];
    const chips = () => page.locator('.composer .chip').allInnerTexts().then((l) => l.map((x) => x.trim()));
    const open = async (title) => { await page.locator('aside').getByRole('link', { name: title }).click(); await page.getByRole('heading', { name: title }).waitFor({ state: 'attached' }); };
    await page.goto(`/c/${one}`);
    const files = page.getByLabel('Files', { exact: true });
    await files.setInputFiles([{ name: 'kept.txt', mimeType: 'text/plain', buffer: Buffer.from('kept') }, { name: 'gone.txt', mimeType: 'text/plain', buffer: Buffer.from('gone') }]);
    await button('Remove kept.txt').waitFor();
    await button('Remove gone.txt').click();
    await page.getByLabel('Message', { exact: true }).fill('half a thought');
    await open('Draft two');
    assert.deepEqual([await chips(), await page.getByLabel('Message', { exact: true }).inputValue()], [[], '']);
    // still going up when its chat is left
    let release;
    const held = new Promise((go) => (release = go));
    await page.route('**/api/v1/files/', async (r) => { await held; await r.continue(); });
    await files.setInputFiles({ name: 'late.txt', mimeType: 'text/plain', buffer: Buffer.from('late') });
    await button('Remove late.txt').waitFor();
    await open('Draft one');
    assert.deepEqual([await chips(), await page.getByLabel('Message', { exact: true }).inputValue()], [['kept.txt'], 'half a thought']);
    const arrived = page.waitForResponse((r) => r.url().endsWith('/api/v1/files/'));
    release();
    await arrived;
    await page.unroute('**/api/v1/files/');
    await open('Draft two');
    await page.waitForFunction(() => document.querySelector('.composer .chip')?.innerText.trim() === 'late.txt');
    await button('Remove late.txt').click();
    await page.goto('/studio');
    await page.goto(`/c/${one}`);
    await button('Remove kept.txt').waitFor();
    assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), 'half a thought');
    await open('Draft two');
    await files.setInputFiles({ name: 'deleted.txt', mimeType: 'text/plain', buffer: Buffer.from('x') });
    await button('Remove deleted.txt').waitFor();
    const file = (await api(page, 'GET', '/api/v1/files/')).data.find((f) => f.name === 'deleted.txt');
    await api(page, 'DELETE', `/api/v1/files/${file.id}`);
    await page.reload();
    await button('Remove deleted.txt').waitFor({ state: 'detached' });
    await open('Draft one');
    await button('Send').click();
    await page.locator('article.mine', { hasText: 'kept.txt' }).waitFor();
    assert.deepEqual(await chips(), []);
    await api(page, 'POST', `/api/v1/chats/${one}/stop`);
  });

  it('50 MB of text go along as a file, however they came', async () => {
    for (const how of ['paste', 'input']) {
      await page.goto('/');
      await page.getByLabel('Message', { exact: true }).waitFor();
      await page.evaluate((kind) => {
        const area = document.querySelector('[data-composer]');
        const text = 'word '.repeat(10 << 20);
        area.focus();
        if (kind === 'input') area.value = text;
        const data = new DataTransfer();
        data.setData('text/plain', kind === 'paste' ? text : '');
        area.dispatchEvent(kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }) : new Event('input', { bubbles: true }));
      }, how);
      await button('Remove pasted.txt').waitFor();
      assert.equal(await page.getByLabel('Message', { exact: true }).inputValue(), '', how);
    }
  });

  it('names from elsewhere never run: tags, shared chats, presets, workflows', async () => {
    const evil = `"><img src=x onerror=window.__xss=1><script>window.__xss=2</script>`;
    const { id } = (await api(page, 'POST', '/api/v1/chats/new', { title: evil, model: MODEL })).data;
    await api(page, 'POST', `/api/v1/chats/${id}/messages`, { content: evil, generate: false });
    await api(page, 'POST', `/api/v1/chats/${id}/tags`, { name: evil });
    const { share_id } = (await api(page, 'POST', `/api/v1/chats/${id}/share`)).data;
    const preset = (await api(page, 'POST', '/api/v1/models/create', { name: evil, base_model_id: MODEL, params: {}, meta: { description: evil, suggestions: [evil] } })).data;
    await page.goto(`/s/${share_id}`);
    await page.getByText(evil).first().waitFor();
    await page.goto(`/c/${id}`);
    await button('Chat settings').click();
    await button(`Remove ${evil}`).waitFor();
    await page.keyboard.press('Control+k');
    await page.getByRole('dialog').getByRole('button', { name: evil }).waitFor();
    await page.goto('/');
    await page.getByLabel('Model', { exact: true }).click();
    await page.getByRole('option', { name: /onerror/ }).click();
    await page.getByText(evil).first().waitFor();
    await page.goto('/studio');
    await page.getByText('An empty canvas').waitFor();
    const nodes = [{ id: 1, type: evil, title: evil, pos: [0, 0], color: 'red;background:url(https://example.invalid)', widgets_values: [evil] },
      { id: 2, type: 'Note', pos: [400, 0], widgets_values: [evil] }];
    await page.getByLabel('Workflow file').setInputFiles({ name: 'evil.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify({ nodes, links: [[1, 1, 0, 2, 0, evil]], groups: [{ title: evil, bounding: [0, 0, 99, 99], color: evil }] })) });
    await page.locator('.node').nth(1).waitFor();
    assert.equal(await page.evaluate(() => window.__xss), undefined);
    await api(page, 'DELETE', `/api/v1/models/model/delete?id=${preset.id}`);
  });

  it('nothing went wrong in the page meanwhile', () => {
    assert.deepEqual(ada.problems, []);
  });
});
