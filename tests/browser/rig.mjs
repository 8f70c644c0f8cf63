// A real server with the demo models, Debian's Chromium, and what every test watches for: scripts that
// should not run, errors in the console, things the policy stopped.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const require = createRequire(path.join(ROOT, 'web/package.json'));
const { chromium } = require('playwright-core');
export const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const HOB = process.env.HOB_BIN ?? path.join(ROOT, 'build/hob');
const DEMO = process.env.HOB_DEMO_DIR ?? path.join(os.homedir(), '.cache/hob/demo');
const MODELS = { 'smollm2:135m': 'smollm2-135m.gguf', 'all-minilm': 'all-minilm.gguf' };
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

async function freePort() {
  const s = net.createServer().listen(0, '127.0.0.1');
  await once(s, 'listening');
  const { port } = s.address();
  s.close();
  return port;
}

export class Server {
  /** `more`: of the server's environment. */
  constructor(more = {}) {
    this.more = more;
  }

  async start() {
    this.home ??= fs.mkdtempSync(path.join(os.tmpdir(), 'hob-browser-'));
    const checkpoints = path.join(this.home, 'comfy/models/checkpoints');
    fs.mkdirSync(checkpoints, { recursive: true });
    const picture = path.join(checkpoints, 'emoji-sd.safetensors');
    if (!fs.existsSync(picture)) fs.copyFileSync(path.join(DEMO, 'emoji-sd.safetensors'), picture);
    this.webPort ??= await freePort();
    this.env = { ...process.env, HOB_HOME: this.home, OLLAMA_MODELS: path.join(this.home, 'models'),
      OLLAMA_HOST: `127.0.0.1:${await freePort()}`, HOB_IMAGE_HOST: `127.0.0.1:${await freePort()}`,
      HOB_WEB_HOST: `127.0.0.1:${this.webPort}`, ...this.more };
    this.url = `http://127.0.0.1:${this.webPort}`;
    const log = fs.openSync(path.join(this.home, 'server.log'), 'a');
    this.process = spawn(HOB, ['serve'], { env: this.env, stdio: ['ignore', log, log] });
    for (let i = 0; i < 400; i++) {
      if (await fetch(`${this.url}/health`).then((r) => r.ok, () => false)) return this;
      if (this.process.exitCode !== null) break;
      await sleep(50);
    }
    throw new Error(`hob serve does not answer:\n${this.log()}`);
  }

  log() {
    return fs.readFileSync(path.join(this.home, 'server.log'), 'utf8').slice(-3000);
  }

  async createModels() {
    for (const name of Object.keys(MODELS)) await this.create(name);
  }

  /** A model of the demo's weights; `more` lines for its Modelfile. */
  async create(name, more = '', of = name) {
    const p = spawn(HOB, ['create', name, '-f', '-'], { env: this.env, stdio: ['pipe', 'ignore', 'pipe'] });
    let said = '';
    p.stderr.on('data', (d) => (said += d));
    p.stdin.end(`FROM ${path.join(DEMO, MODELS[of])}\n${more}`);
    const [status] = await once(p, 'exit');
    if (status !== 0) throw new Error(`hob create ${name} ended with ${status}: ${said}`);
  }

  async stop(signal = 'SIGTERM') {
    if (this.process?.exitCode !== null) return;
    this.process.kill(signal);
    await once(this.process, 'exit');
  }

  async finish() {
    await this.stop();
    fs.rmSync(this.home, { recursive: true, force: true });
  }
}

export const launch = () => chromium.launch({ executablePath: process.env.HOB_CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });

/** A context whose pages keep what went wrong in `problems`. */
export async function visitor(browser, server, options = {}) {
  const context = await browser.newContext({ baseURL: server.url, locale: 'en-US', viewport: { width: 1280, height: 900 },
    permissions: ['clipboard-read', 'clipboard-write'], ...options });
  context.setDefaultTimeout(20000);
  const problems = [];
  context.on('page', (page) => {
    page.on('pageerror', (e) => problems.push(`script: ${e.message}`));
    page.on('dialog', (d) => { problems.push(`dialog: ${d.message()}`); void d.dismiss(); });
    page.on('console', (m) => m.type() === 'error' && !/Failed to load resource/.test(m.text()) && problems.push(`console: ${m.text()}`));
    page.on('request', (r) => !r.url().startsWith(server.url) && !/^(data|blob):/.test(r.url()) && problems.push(`left the server: ${r.url()}`));
  });
  await context.addInitScript(() => { window.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`)); });
  return { context, problems, page: await context.newPage() };
}

export async function signUp(page, name, email, password) {
  await page.goto('/');
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByLabel('Message', { exact: true }).waitFor();
}

/** The first account's visitor: Ada, who is the administrator. */
export async function administrator(browser, server, options) {
  const ada = await visitor(browser, server, options);
  await signUp(ada.page, 'Ada Lovelace', 'ada@example.org', 'correct horse battery');
  return ada;
}

/** Lets go of files over a place of the page. files: [[name, type, Buffer]] */
export async function dropFiles(page, selector, files) {
  const data = await page.evaluateHandle((list) => {
    const d = new DataTransfer();
    for (const [name, type, bytes] of list) d.items.add(new File([new Uint8Array(bytes)], name, { type }));
    return d;
  }, files.map(([name, type, bytes]) => [name, type, [...bytes]]));
  for (const type of ['dragenter', 'dragover', 'drop']) await page.dispatchEvent(selector, type, { dataTransfer: data });
}

export async function signIn(page, email, password) {
  await page.goto('/');
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Message', { exact: true }).waitFor();
}

export async function send(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
}

/** The last answer on the page, once it has ended. A small model may go on for ever: then it is stopped. */
export async function answer(page, patience = 12000) {
  const done = page.locator('article.last:not(.mine)[data-state="done"]');
  const ended = await done.waitFor({ timeout: patience }).then(() => true, () => false);
  if (!ended) {
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('article.last:is([data-state="stopped"], [data-state="done"]):not(.mine)').waitFor();
  }
  return page.locator('article.last');
}

export const api = (page, method, url, body) => page.evaluate(async ([m, u, b]) => {
  const r = await fetch(u, { method: m, headers: { 'Content-Type': 'application/json' }, ...(b === undefined ? {} : { body: JSON.stringify(b) }) });
  const text = await r.text();
  let data = text;
  try { data = JSON.parse(text); } catch { /* text */ }
  return { status: r.status, data };
}, [method, url, body]);

/** Violations of WCAG 2 A and AA on the page as it is. */
export async function axe(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
  return found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
}
