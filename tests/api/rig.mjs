// A server of our own on a free port, with demo models, for clients written in JavaScript.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HOB = process.env.HOB_BIN ?? 'build/hob';
const DEMO = process.env.HOB_DEMO_DIR ?? '';

// The reason to skip a file of tests, or false.
export const missing = (files) =>
  Object.values(files).some((f) => !existsSync(join(DEMO, f))) && 'demo models are not there';

function freePort() {
  return new Promise((resolve) => {
    const s = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

// files: model name -> file of the demo folder; modelfiles: model name -> text. Gives { url, stop }.
export async function serve(files, modelfiles = {}) {
  const home = mkdtempSync(join(tmpdir(), 'hob-js-'));
  const host = `127.0.0.1:${await freePort()}`;
  const url = `http://${host}`;
  const env = { ...process.env, OLLAMA_HOST: host, HOB_HOME: home, OLLAMA_MODELS: join(home, 'models'),
    HOB_WEB_HOST: 'off', HOB_IMAGE_HOST: 'off' };
  const server = spawn(HOB, ['serve'], { env, stdio: 'ignore' });
  for (let i = 0; ; i++) {
    try {
      await fetch(`${url}/healthz`);
      break;
    } catch (e) {
      if (i > 300) throw e;
      await new Promise((r) => setTimeout(r, 50));
    }
  }
  const inputs = Object.entries(files).map(([name, file]) => [name, `FROM ${join(DEMO, file)}\n`]);
  for (const [name, input] of [...inputs, ...Object.entries(modelfiles)]) {
    const r = spawnSync(HOB, ['create', name, '-f', '-'], { env, input });
    assert.equal(r.status, 0, String(r.stderr));
  }
  const stop = async () => {
    const ended = new Promise((r) => server.once('exit', r));
    server.kill('SIGTERM');
    assert.equal(await ended, 0);
    rmSync(home, { recursive: true });
  };
  return { url, stop };
}
