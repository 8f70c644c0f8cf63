// The official JavaScript clients (ollama, openai), unchanged, against a real server.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { missing, serve } from './rig.mjs';

const require = createRequire(import.meta.url); // so that NODE_PATH counts
const FILES = { 'smollm2:135m': 'smollm2-135m.gguf', 'all-minilm': 'all-minilm.gguf' };
const MODEL = 'smollm2:135m';
const skip = missing(FILES);
let rig, url, client, openai;

before(async () => {
  if (skip) return;
  const { Ollama } = require('ollama');
  const OpenAI = require('openai');
  rig = await serve(FILES);
  url = rig.url;
  client = new Ollama({ host: url });
  openai = new (OpenAI.default ?? OpenAI)({ baseURL: `${url}/v1`, apiKey: 'unused' });
});

after(() => rig?.stop());

test('ollama: chat and its stream agree', { skip }, async () => {
  const request = { model: MODEL, messages: [{ role: 'user', content: 'Say hello.' }],
    options: { temperature: 0, num_predict: 10 } };
  const whole = await client.chat(request);
  let text = '';
  for await (const part of await client.chat({ ...request, stream: true })) text += part.message.content;
  assert.equal(text, whole.message.content);
  assert.ok(text.length > 5);
});

test('ollama: aborting a stream leaves the server well', { skip }, async () => {
  const stream = await client.generate({ model: MODEL, prompt: 'Write a very long story.', stream: true,
    options: { num_predict: 4000 } });
  await assert.rejects(async () => {
    let n = 0;
    for await (const _ of stream) if (++n === 3) stream.abort();
  });
  const answer = await client.generate({ model: MODEL, prompt: 'Hi', options: { num_predict: 2 } });
  assert.equal(answer.done, true);
});

test('ollama: list, show, embed', { skip }, async () => {
  assert.deepEqual((await client.list()).models.map((m) => m.name).sort(), ['all-minilm:latest', MODEL]);
  assert.equal((await client.show({ model: MODEL })).details.family, 'llama');
  const { embeddings } = await client.embed({ model: 'all-minilm', input: ['a', 'b'] });
  assert.deepEqual(embeddings.map((v) => v.length), [384, 384]);
});

test('openai: chat completion with usage', { skip }, async () => {
  const answer = await openai.chat.completions.create({ model: MODEL, temperature: 0, max_tokens: 8,
    messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Say hello.' }] });
  assert.equal(answer.object, 'chat.completion');
  assert.equal(answer.choices[0].message.role, 'assistant');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test('openai: stream with usage', { skip }, async () => {
  const stream = await openai.chat.completions.create({ model: MODEL, temperature: 0, max_tokens: 8, stream: true,
    stream_options: { include_usage: true }, messages: [{ role: 'user', content: 'Say hello.' }] });
  let text = '', usage, reason;
  for await (const part of stream) {
    text += part.choices[0]?.delta?.content ?? '';
    reason = part.choices[0]?.finish_reason ?? reason;
    usage = part.usage ?? usage;
  }
  assert.ok(text.length > 0);
  assert.ok(['stop', 'length'].includes(reason));
  assert.ok(usage.completion_tokens > 0);
});

test('openai: models and embeddings', { skip }, async () => {
  const ids = [];
  for await (const m of openai.models.list()) ids.push(m.id);
  assert.ok(ids.includes(MODEL));
  assert.equal((await openai.models.retrieve(MODEL)).id, MODEL);
  const r = await openai.embeddings.create({ model: 'all-minilm', input: ['hi', 'ho'] }); // base64 inside
  assert.deepEqual(r.data.map((d) => d.embedding.length), [384, 384]);
  const plain = await openai.embeddings.create({ model: 'all-minilm', input: 'hi', encoding_format: 'float' });
  r.data[0].embedding.forEach((v, i) => assert.ok(Math.abs(v - plain.data[0].embedding[i]) < 1e-6));
});

test('openai: errors have their envelope', { skip }, async () => {
  await assert.rejects(openai.chat.completions.create({ model: 'nope', messages: [{ role: 'user', content: 'x' }] }),
    (e) => e.status === 404 && e.type === 'not_found_error' && /nope/.test(e.message));
  await assert.rejects(openai.chat.completions.create({ model: MODEL, messages: [] }),
    (e) => e.status === 400 && e.type === 'invalid_request_error');
});
