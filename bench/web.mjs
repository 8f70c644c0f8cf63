// How fast the web app opens and scrolls a chat of 1,000 messages, and how heavy its first page is.
// usage: node bench/web.mjs [MESSAGES]     (needs build/hob, web/node_modules and chromium)
import zlib from 'node:zlib';
import { api, launch, Server, visitor } from '../tests/browser/rig.mjs';

const n = Number(process.argv[2] ?? 1000);
const TEXT = 'Three things follow:\n\n1. **Preheat** briefly.\n2. Dry the surface.\n\n| Pan | Time |\n|--|--:|\n| iron | 3 min |\n| steel | 2 min |\n\n' +
  '```python\ndef preheat(mass, watts, c=460):\n    return mass * c * 160 / watts\n```\n\nThe heat flow is $q = -k\\,\\partial T / \\partial x$ and so on, for a paragraph that is as long as answers are.\n';

function chat() {
  const messages = {};
  for (let i = 0; i < n; i++) {
    messages[`m${i}`] = { id: `m${i}`, parentId: i ? `m${i - 1}` : null, childrenIds: i + 1 < n ? [`m${i + 1}`] : [],
      role: i % 2 ? 'assistant' : 'user', content: i % 2 ? TEXT : `Question ${i} about pans?`, timestamp: 1700000000 + i, done: true };
  }
  return [{ id: 'bench', title: 'A long chat', chat: { title: 'A long chat', models: ['none'], history: { currentId: `m${n - 1}`, messages } } }];
}

const median = (xs) => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)];
const server = await new Server().start();
const browser = await launch();
try {
  const { page } = await visitor(browser, server, { viewport: { width: 1440, height: 900 } });
  const first = [];
  page.on('response', (r) => !/\/api\//.test(r.url()) && first.push(r));
  await page.goto('/');
  await page.getByLabel('Name').fill('Bench');
  await page.getByLabel('Email').fill('bench@example.org');
  await page.getByLabel('Password').fill('bench password');
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByLabel('Message', { exact: true }).waitFor();
  let bytes = 0;
  const count = first.length;
  for (const r of first) bytes += zlib.gzipSync(await r.body()).length;
  const made = await api(page, 'POST', '/api/v1/chats/import', chat());
  const id = made.data.ids[0];
  const warm = [];
  const cold = [];
  for (let i = 0; i < 7; i++) {
    await page.goto('/');
    await page.locator(`aside a[href="/c/${id}"]`).waitFor();
    warm.push(await page.evaluate(async (url) => {
      const start = performance.now();
      document.querySelector(`aside a[href="${url}"]`).click();
      const seen = () => document.querySelector('article.last .prose')?.getBoundingClientRect();
      while (!(seen()?.bottom > 0 && seen().bottom < innerHeight)) await new Promise(requestAnimationFrame);
      await new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)));
      return performance.now() - start;
    }, `/c/${id}`));
    await page.goto(`/c/${id}`);
    cold.push(await page.evaluate(async () => {
      const seen = () => document.querySelector('article.last .prose')?.getBoundingClientRect();
      while (!(seen()?.bottom > 0 && seen().bottom < innerHeight)) await new Promise(requestAnimationFrame);
      return performance.now();
    }));
  }
  // Scrolling up through everything: the longest time between two frames.
  const frames = await page.evaluate(async () => {
    const box = document.querySelector('[role=log]');
    const gaps = [];
    let last = performance.now();
    for (let i = 0; i < 240; i++) {
      box.scrollTop -= 400;
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }
    return gaps.sort((a, b) => a - b);
  });
  console.log(`web: first page ${(bytes / 1024).toFixed(0)} KiB gzip in ${count} files`);
  console.log(`web: ${n} messages open in ${median(warm).toFixed(0)} ms from the sidebar, ${median(cold).toFixed(0)} ms by address (median of 7)`);
  console.log(`web: scrolling up, frames: median ${median(frames).toFixed(0)} ms, 95 % below ${frames[Math.floor(frames.length * 0.95)].toFixed(0)} ms, worst ${frames.at(-1).toFixed(0)} ms`);
} finally {
  await browser.close();
  await server.finish();
}
