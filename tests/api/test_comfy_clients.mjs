// ComfyUI's JavaScript clients, unchanged, against a real server with the demo checkpoint.
import assert from 'node:assert/strict';
import { File as BufferFile } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

globalThis.File ??= BufferFile; // Node 18 has it, but not there

const require = createRequire(import.meta.url); // so that NODE_PATH counts
const HOB = process.env.HOB_BIN ?? 'build/hob';
const CHECKPOINT = 'emoji-sd.safetensors';
const FILE = join(process.env.HOB_DEMO_DIR ?? '', CHECKPOINT);
const skip = !existsSync(FILE) && 'the demo checkpoint is not there';
const old = Number(process.versions.node.split('.')[0]) < 20 && 'this client needs a newer node';
const GRAPH = (seed, steps = 2) => ({
  4: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: CHECKPOINT } },
  5: { class_type: 'EmptyLatentImage', inputs: { width: 128, height: 128, batch_size: 1 } },
  6: { class_type: 'CLIPTextEncode', inputs: { text: 'a red apple', clip: ['4', 1] } },
  7: { class_type: 'CLIPTextEncode', inputs: { text: '', clip: ['4', 1] } },
  3: { class_type: 'KSampler', inputs: { seed, steps, cfg: 5, sampler_name: 'euler', scheduler: 'normal', denoise: 1,
    model: ['4', 0], positive: ['6', 0], negative: ['7', 0], latent_image: ['5', 0] } },
  8: { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
  9: { class_type: 'SaveImage', inputs: { filename_prefix: 'js', images: ['8', 0] } },
});
let server, home, host, url, env;

function freePort() {
  return new Promise((resolve) => {
    const s = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

const load = async (name) => {
  const m = await import(pathToFileURL(require.resolve(name)));
  return m.default ?? m;
};
const isPng = (bytes) => Buffer.from(bytes).subarray(1, 4).toString() === 'PNG';

before(async () => {
  if (skip) return;
  home = mkdtempSync(join(tmpdir(), 'hob-comfy-js-'));
  const folder = join(home, 'comfy', 'models', 'checkpoints');
  mkdirSync(folder, { recursive: true });
  symlinkSync(FILE, join(folder, CHECKPOINT));
  host = `127.0.0.1:${await freePort()}`;
  url = `http://${host}`;
  env = { ...process.env, OLLAMA_HOST: `127.0.0.1:${await freePort()}`, HOB_HOME: home, HOB_WEB_HOST: 'off',
    OLLAMA_MODELS: join(home, 'models'), HOB_IMAGE_DIR: join(home, 'comfy'), HOB_IMAGE_HOST: host };
  server = spawn(HOB, ['serve'], { env, stdio: 'ignore' });
  for (let i = 0; ; i++) {
    try {
      await fetch(`${url}/queue`);
      break;
    } catch (e) {
      if (i > 300) throw e;
      await new Promise((r) => setTimeout(r, 50));
    }
  }
});

after(async () => {
  if (!server) return;
  server.kill('SIGTERM');
  const status = await new Promise((resolve) => server.once('exit', resolve));
  rmSync(home, { recursive: true, force: true });
  assert.equal(status, 0);
});

test('@stable-canvas/comfyui-client', { skip }, async () => {
  const { Client } = require('@stable-canvas/comfyui-client');
  const client = new Client({ api_host: host, WebSocket: require('ws'), fetch });
  await client.connect();
  try {
    const stats = await client.getSystemStats();
    assert.ok(stats.devices.length > 0);
    assert.deepEqual(await client.getEmbeddings(), []);
    assert.ok((await client.getNodeDefs()).KSampler);
    assert.deepEqual(await client.getSDModels(), [CHECKPOINT]);
    assert.ok((await client.getSamplers()).includes('euler'));
    const steps = [];
    const { images } = await client.enqueue(GRAPH(11), { progress: ({ value }) => steps.push(value) });
    assert.equal(images.length, 1); // previews are off, or they would be counted
    const picture = images[0];
    const bytes = picture.type === 'buff' ? picture.data : await (await fetch(picture.data)).arrayBuffer();
    assert.ok(isPng(bytes));
    assert.ok(steps.includes(2));
    const polled = await client.enqueue_polling(GRAPH(12));
    assert.equal(polled.images.length, 1);
    assert.ok((await client.getHistory()).History.length >= 2);
    const queue = await client.getQueue();
    assert.deepEqual([queue.Running.length, queue.Pending.length], [0, 0]);
    await assert.rejects(client.enqueue({ 1: { class_type: 'Nope', inputs: {} } }));
    await client.free({ unload_models: true, free_memory: true });
  } finally {
    client.close();
  }
});

test('@saintno/comfyui-sdk', { skip: skip || old, timeout: 180000 }, async () => {
  const { ComfyApi, CallWrapper, PromptBuilder } = await load('@saintno/comfyui-sdk');
  const api = new ComfyApi(url, 'saintno').init();
  await api.waitForReady();
  try {
    assert.ok((await api.getSystemStats()).system.comfyui_version);
    assert.deepEqual(await api.getCheckpoints(), [CHECKPOINT]);
    assert.ok((await api.getSamplerInfo()).sampler);
    assert.ok(Object.keys(await api.getNodeDefs('KSampler')).length === 1);
    const upload = await api.uploadImage(Buffer.from('not a picture'), 'sdk.png');
    assert.equal(upload.info.filename, 'sdk.png');
    const workflow = new PromptBuilder(GRAPH(0), ['seed', 'text'], ['images'])
      .setInputNode('seed', '3.inputs.seed').setInputNode('text', '6.inputs.text')
      .setOutputNode('images', '9').input('seed', 21).input('text', 'a green frog');
    const progress = [];
    const result = await new Promise((resolve, reject) => {
      new CallWrapper(api, workflow)
        .onProgress((p) => progress.push(p.value))
        .onFinished(resolve)
        .onFailed((e) => reject(e))
        .run();
    });
    assert.equal(result.images.images.length, 1);
    const blob = await api.getImage(result.images.images[0]);
    assert.ok(isPng(await blob.arrayBuffer()));
    assert.ok(progress.length > 0);
    const failed = await new Promise((resolve) => {
      new CallWrapper(api, new PromptBuilder({ 1: { class_type: 'Nope', inputs: {} } }, [], []))
        .onFinished(() => resolve(null)).onFailed((e) => resolve(e)).run();
    });
    assert.ok(failed instanceof Error);
    assert.ok(Object.keys(await api.getHistories()).length >= 1);
    await api.storeUserData('workflows/sdk.json', '{}');
    assert.ok((await (await api.getUserData('workflows/sdk.json')).text()).includes('{}'));
    await api.freeMemory(true, true);
  } finally {
    api.destroy();
  }
});

test('@comfyorg/sdk: API v2', { skip: skip || old, timeout: 180000 }, async () => {
  const { Comfy, InvalidWorkflow } = await load('@comfyorg/sdk');
  process.env.COMFY_BASE_URL = url;
  const client = new Comfy();
  const workflow = client.workflows.fromJson?.(GRAPH(31)) ?? client.workflows.fromObject(GRAPH(31));
  const job = await client.run(workflow);
  const [output] = job.getOutputs('9');
  const target = join(home, 'v2.png');
  await output.toFile(target);
  assert.ok(isPng(readFileSync(target)));
  const bad = GRAPH(1);
  bad[3].inputs.steps = 0;
  const wrong = client.workflows.fromJson?.(bad) ?? client.workflows.fromObject(bad);
  await assert.rejects(client.run(wrong), InvalidWorkflow);
});

// What scripts copy from the official example: POST /prompt, one socket, /history, /view.
test('plain HTTP and WebSocket', { skip }, async () => {
  const WebSocket = require('ws');
  const socket = new WebSocket(`ws://${host}/ws?clientId=plain`);
  await new Promise((resolve) => socket.once('open', resolve));
  const body = JSON.stringify({ prompt: GRAPH(41), client_id: 'plain' });
  const { prompt_id: id } = await (await fetch(`${url}/prompt`, { method: 'POST', body })).json();
  const types = [];
  await new Promise((resolve) => socket.on('message', (data, binary) => {
    if (binary) return;
    const message = JSON.parse(data);
    types.push(message.type);
    if (message.type === 'executing' && message.data.node === null && message.data.prompt_id === id) resolve();
  }));
  assert.ok(types.includes('progress') && types.includes('executed'));
  const history = await (await fetch(`${url}/history/${id}`)).json();
  const [image] = history[id].outputs['9'].images;
  const view = await fetch(`${url}/view?${new URLSearchParams(image)}`);
  assert.ok(isPng(await view.arrayBuffer()));
  socket.close();
});

test('openai: images', { skip }, async () => {
  const OpenAI = require('openai');
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'x' });
  const made = await client.images.generate({ model: 'emoji-sd', prompt: '5', n: 2, size: '64x64' });
  assert.equal(made.data.length, 2);
  const png = Buffer.from(made.data[0].b64_json, 'base64');
  assert.ok(isPng(png));
  const image = await OpenAI.toFile(png, 'in.png', { type: 'image/png' });
  const edited = await client.images.edit({ model: 'emoji-sd', prompt: 'a green frog', image, size: '64x64' });
  assert.ok(isPng(Buffer.from(edited.data[0].b64_json, 'base64')));
});

test('hob image', { skip }, () => {
  const out = join(home, 'apple.png');
  const run = (...args) => spawnSync(HOB, ['image', ...args], { env });
  const r = run('a red apple', '-o', out, '--steps', '2', '--seed', '1');
  assert.equal(r.status, 0, String(r.stderr));
  assert.ok(isPng(readFileSync(out)));
  const two = run('a red apple', '-o', out, '--steps', '1', '-n', '2', '--size', '64x64');
  assert.equal(two.status, 0, String(two.stderr));
  assert.ok(isPng(readFileSync(join(home, 'apple-2.png'))));
  assert.notEqual(run('x', '-m', 'nope').status, 0);
  assert.notEqual(run('--steps', 'many', 'x').status, 0);
});
