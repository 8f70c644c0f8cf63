// Every page and state of the web app, filled with what people have: for look.mjs.
import { api } from './rig.mjs';

const MODEL = 'smollm2:135m';
const THOUGHT = 'A pan of water on a hob: the power of the plate, the mass, the heat capacity. Solve for the time.';
const QUESTION = 'How long does a litre of water take to boil on a 2 kW hob? Show the formula, a table and a short script.';
const ANSWER = `The heat that the water needs is its mass times its heat capacity times the rise in temperature, and a plate gives a fixed power:

$$t = \\frac{m \\, c \\, (T_2 - T_1)}{\\eta \\, P} = \\frac{1 \\cdot 4186 \\cdot 80}{0.85 \\cdot 2000} \\approx 197\\ \\text{s}$$

| Hob | Power | Efficiency $\\eta$ | Time |
|:--|--:|--:|--:|
| Induction | 2.0 kW | 85 % | 3 min 17 s |
| Glass ceramic | 2.0 kW | 70 % | 3 min 59 s |
| Gas | 2.5 kW | 40 % | 5 min 35 s |

The same as a script, for any pan:

\`\`\`python
def seconds(litres, watts, efficiency=0.85, start=20, end=100):
    """How long water takes to boil."""
    joules = litres * 4186 * (end - start)
    return joules / (watts * efficiency)

print(f"{seconds(1, 2000):.0f} s")  # 197 s
\`\`\`

A **lid** saves about a fifth of the time: without one, steam takes heat away from about 60 °C on.`;
const LONG = `# All that Markdown has

Text with \`inline code\`, **bold**, *italic*, ~~struck~~ and a [link](https://example.org/).

1. first
   - nested
   - nested again
2. second

> A quotation, which goes on for a while so that it needs more than one line on a telephone, at least.

- [x] done
- [ ] open

| A | B | C | D | E | F | G |
|---|---|---|---|---|---|---|
${'| some longer cell | 1 | 2 | 3 | 4 | 5 | wide enough to scroll |\n'.repeat(4)}
\`\`\`ts
const averyveryverylongline = "which does not fit a telephone and must scroll inside its own box, not the page";
\`\`\`

---

Averylongwordwithoutanyspaces${'abcdefghij'.repeat(12)}

$E = mc^2$ inline and

$$\\sum_{i=1}^{n} x_i^2 = \\int_0^\\infty e^{-x^2}\\,dx + \\begin{pmatrix}1&2&3&4&5&6&7&8&9\\\\1&2&3&4&5&6&7&8&9\\end{pmatrix}$$
`;
const DAY = 86400;

/** A chat in Open WebUI's shape. */
function chatOf(title, age, turns) {
  const messages = {};
  const at = Math.floor(Date.now() / 1000) - age * DAY;
  let parent = null;
  turns.forEach(([role, content], i) => {
    const id = `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`;
    messages[id] = { id, parentId: parent, childrenIds: [], role, content, timestamp: at + i, ...(role === 'assistant' ? { model: MODEL } : {}) };
    if (parent) messages[parent].childrenIds.push(id);
    parent = id;
  });
  return { title, created_at: at, updated_at: at, chat: { title, models: [MODEL], history: { currentId: parent, messages } } };
}

export async function seed(page) {
  const made = async (url, body) => (await api(page, 'POST', url, body)).data;
  const load = async (...a) => (await made('/api/v1/chats/import', { chats: [chatOf(...a)] })).ids[0];
  const OLD = { 'Holiday in the Harz': 0, 'Regular expressions': 0, 'A birthday speech for Grandmother, with three jokes': 1, 'Bread without kneading': 3, 'Backups with rsync': 5, 'Why is the sky blue?': 20, 'A name for a cat': 90 };
  for (const [title, age] of Object.entries(OLD)) await load(title, age, [['user', 'Tell me.'], ['assistant', 'The heron waits.']]);
  const thought = `<details type="reasoning" done="true" duration="4">\n<summary>Thought for 4 seconds</summary>\n> ${THOUGHT}\n</details>\n`;
  const ids = {
    long: await load('Everything Markdown has', 2, [['user', 'Show all'], ['assistant', LONG], ['user', 'A second question with\nseveral lines\nof text'], ['assistant', thought + 'Short.']]),
    chat: await load('Water on the boil', 0, [['user', QUESTION], ['assistant', thought + ANSWER]]),
  };
  const picture = await made('/api/v1/chats/new', { title: 'A red apple' });
  const { assistant } = await made(`/api/v1/chats/${picture.id}/pictures`, { prompt: 'a red apple', width: 128, height: 128, steps: 20, seed: 7 });
  for (let state = ''; state !== 'done' && state !== 'failed';) ({ state } = (await api(page, 'GET', `/api/v1/chats/${picture.id}/messages/${assistant.id}`)).data);
  ids.picture = picture.id;
  const folder = await made('/api/v1/folders/', { name: 'Work' });
  await made(`/api/v1/chats/${ids.long}`, { folder_id: folder.id });
  await made(`/api/v1/chats/${ids.chat}/pin`);
  ids.knowledge = (await made('/api/v1/knowledge/create', { name: 'Kitchen', description: 'Manuals of the kitchen: hob, oven, hood' })).id;
  ids.nothing = (await made('/api/v1/knowledge/create', { name: 'Empty one', description: '' })).id;
  for (const [name, text] of [['hob-manual.md', 'The hob has four plates of 2 kW each. '], ['oven.txt', 'The oven heats to 250 degrees. ']]) {
    const id = await page.evaluate(async ([n, t]) => {
      const form = new FormData();
      form.append('file', new File([t], n, { type: 'text/plain' }));
      return (await (await fetch('/api/v1/files/', { method: 'POST', body: form })).json()).id;
    }, [name, text.repeat(120)]);
    await made(`/api/v1/knowledge/${ids.knowledge}/file/add`, { file_id: id });
  }
  await made('/api/v1/prompts/create', { command: '/translate', title: 'Translate', content: 'Translate into {{language}}: {{text}}' });
  await made('/api/v1/prompts/create', { command: '/short', title: 'In short', content: 'Say it in one sentence: ' });
  await made('/api/v1/models/create', { name: 'Cook', base_model_id: MODEL, params: { system: 'You are a cook.', temperature: 0.3 }, meta: { description: 'Knows pans', suggestions: ['What goes with leek?', 'How long does rice take?'] } });
  await made('/api/v1/auths/keys', { name: 'notebook', scopes: ['chat', 'images'], expires_in: 86400 * 30 });
  await made('/api/v1/auths/add', { name: 'Grace Hopper', email: 'grace@example.org', password: 'a long password', role: 'user' });
  await made('/api/v1/auths/add', { name: 'Waiting Person', email: 'waiting@example.org', password: 'a long password', role: 'pending' });
  ids.share = (await made(`/api/v1/chats/${ids.chat}/share`)).share_id;
  return ids;
}

const FLOW = { 1: ['CheckpointLoaderSimple', { ckpt_name: 'emoji-sd.safetensors' }], 2: ['CLIPTextEncode', { text: 'a red apple', clip: ['1', 1] }],
  3: ['CLIPTextEncode', { text: '', clip: ['1', 1] }], 4: ['EmptyLatentImage', { width: 128, height: 128, batch_size: 1 }],
  5: ['KSampler', { model: ['1', 0], positive: ['2', 0], negative: ['3', 0], latent_image: ['4', 0], seed: 7, steps: 20, cfg: 3, sampler_name: 'euler', scheduler: 'normal', denoise: 1 }],
  6: ['VAEDecode', { samples: ['5', 0], vae: ['1', 2] }], 7: ['SaveImage', { images: ['6', 0], filename_prefix: 'look' }] };
const flow = () => JSON.stringify(Object.fromEntries(Object.entries(FLOW).map(([id, [class_type, inputs]]) => [id, { class_type, inputs }])));

export const button = (page, name) => page.getByRole('button', { name, exact: true });
const press = (name) => (page) => button(page, name).first().click();
async function withFlow(page) {
  await page.getByLabel('Workflow file').setInputFiles({ name: 'apple.json', mimeType: 'application/json', buffer: Buffer.from(flow()) });
  await page.locator('.node', { hasText: 'KSampler' }).waitFor();
}
export async function made(page) {
  await withFlow(page);
  await button(page, 'Queue').click();
  await page.waitForFunction(() => document.querySelector('.node .shots img')?.naturalWidth > 0, null, { timeout: 60000 });
}
async function sidebarOpen(page) {
  const open = button(page, 'Open sidebar');
  if (await open.count()) await open.click();
}
async function chatMenu(page) {
  await sidebarOpen(page);
  const row = page.locator('aside li', { hasText: 'Bread without' });
  await row.hover();
  await row.getByRole('button', { name: 'Chat actions' }).click();
}
export const message = (page) => page.getByLabel('Message', { exact: true });

/** [name, where, what is done there] */
export const pages = (ids) => [
  ['new-chat', '/'],
  ['new-chat-picture', '/', async (p) => { await press('Picture mode')(p); await press('Picture settings')(p); }],
  ['sidebar', '/', sidebarOpen],
  ['chat-menu', '/', chatMenu],
  ['model-picker', '/', (p) => p.getByLabel('Model', { exact: true }).click()],
  ['you-menu', '/', async (p) => { await sidebarOpen(p); await p.getByRole('button', { name: 'Ada Lovelace' }).first().click(); }],
  ['search', '/', async (p) => { await p.keyboard.press('Control+k'); await p.getByLabel('Search text').fill('heron'); await p.getByRole('option').first().waitFor(); }],
  ['search-nothing', '/', async (p) => { await p.keyboard.press('Control+k'); await p.getByLabel('Search text').fill('zzzz'); await p.getByText('Nothing found').waitFor(); }],
  ['shortcuts', '/', (p) => p.keyboard.press('Control+/')],
  ['prompts-trigger', '/', async (p) => { await message(p).fill('/'); await message(p).press('End'); await message(p).type('t'); }],
  ['knowledge-trigger', '/', (p) => message(p).type('#')],
  ['chat', `/c/${ids.chat}`],
  ['chat-top', `/c/${ids.chat}`, (p) => p.evaluate(() => document.querySelector('article')?.scrollIntoView())],
  ['chat-thought', `/c/${ids.chat}`, async (p) => { await p.locator('details summary').first().click(); await p.evaluate(() => document.querySelector('article')?.scrollIntoView()); }],
  ['chat-long', `/c/${ids.long}`, (p) => p.evaluate(() => document.querySelector('article')?.scrollIntoView())],
  ['chat-long-mid', `/c/${ids.long}`, (p) => p.evaluate(() => document.querySelector('article pre')?.scrollIntoView({ block: 'center' }))],
  ['chat-edit', `/c/${ids.long}`, async (p) => { await p.locator('article.mine').last().hover(); await p.locator('article.mine').last().getByRole('button', { name: 'Edit' }).click(); }],
  ['chat-settings', `/c/${ids.chat}`, press('Chat settings')],
  ['chat-share', `/c/${ids.chat}`, async (p) => { await sidebarOpen(p); const row = p.locator('aside li', { hasText: 'Water on the boil' }).first(); await row.hover(); await row.getByRole('button', { name: 'Chat actions' }).click(); await p.getByRole('menuitem', { name: 'Share' }).click(); }],
  ['chat-writing', '/', async (p) => { await message(p).fill('Tell me a long story about the sea.'); await press('Send')(p); await p.locator('article.last[data-state="writing"]').waitFor(); await p.waitForTimeout(700); }],
  ['chat-picture', `/c/${ids.picture}`, (p) => p.locator('figure img').first().waitFor()],
  ['chat-missing', '/c/00000000-0000-4000-8000-00000000dead'],
  ['shared', `/s/${ids.share}`],
  ['no-page', '/no/such/page'],
  ['knowledge', '/knowledge'],
  ['collection', `/knowledge/${ids.knowledge}`],
  ['collection-empty', `/knowledge/${ids.nothing}`],
  ...['account', 'look', 'presets', 'prompts', 'keys', 'data', 'users', 'server'].map((x) => [`settings-${x}`, `/settings/${x}`]),
  ['preset-new', '/settings/presets', press('New preset')],
  ['prompt-new', '/settings/prompts', press('New prompt')],

  ['user-new', '/settings/users', press('Add a user')],
  ['machine', '/machine', (p) => p.waitForTimeout(1500)],
  ['logs', '/machine', async (p) => { await p.locator('summary', { hasText: 'Log' }).click(); await p.locator('summary', { hasText: 'Log' }).scrollIntoViewIfNeeded(); }],
  ['studio-empty', '/studio', (p) => p.getByText('An empty canvas').waitFor()],
  ['studio', '/studio', made],
  ['studio-search', '/studio', async (p) => { await withFlow(p); await p.locator('.svelte-flow__pane').dblclick({ position: { x: 40, y: 300 } }); await p.keyboard.type('lora'); }],
  ['studio-menu', '/studio', press('Workflow')],
  ['studio-open', '/studio', (p) => p.keyboard.press('Control+o')],
  ['studio-jobs', '/studio', press('Jobs and pictures')],
  ['studio-keys', '/studio', async (p) => { await press('Workflow')(p); await p.getByRole('menuitem', { name: 'Keyboard shortcuts' }).click(); }],
  ['form', '/studio/form'],
];

async function signedInAs(page, email, password) {
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await button(page, 'Sign in').click();
}
/** Before anybody is signed in. */
export const signInPages = [
  ['sign-in', '/'],
  ['sign-in-wrong', '/', async (p) => { await signedInAs(p, 'ada@example.org', 'wrong'); await p.getByRole('alert').waitFor(); }],
  ['pending', '/', async (p) => { await signedInAs(p, 'waiting@example.org', 'a long password'); await p.getByText('waits for an administrator').waitFor(); }],
];
