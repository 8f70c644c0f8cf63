// Clients of the other dialects, unchanged, against a real server: Anthropic's SDK, OpenAI's responses and
// completions, the Vercel AI SDK through two providers, LangChain. The model is small: shapes, streams and
// forced forms are checked, never wit.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { missing, serve } from './rig.mjs';

const require = createRequire(import.meta.url); // so that NODE_PATH counts
const FILES = { 'smollm2:135m': 'smollm2-135m.gguf', 'all-minilm': 'all-minilm.gguf' };
const MODEL = 'smollm2:135m', TOOLS = 'tools'; // the same weights, with a format for tools
const skip = missing(FILES);
const WEATHER = { type: 'object', properties: { city: { type: 'string', maxLength: 20 } }, required: ['city'] };
let rig, anthropic, openai;

before(async () => {
  if (skip) return;
  rig = await serve(FILES, { [TOOLS]: `FROM ${MODEL}\nRENDERER qwen3-coder\nPARSER qwen3-coder\n` });
  const Anthropic = require('@anthropic-ai/sdk');
  const OpenAI = require('openai');
  anthropic = new (Anthropic.default ?? Anthropic)({ baseURL: rig.url, apiKey: 'unused' });
  openai = new (OpenAI.default ?? OpenAI)({ baseURL: `${rig.url}/v1`, apiKey: 'unused' });
});

after(() => rig?.stop());

test('anthropic: a message, its stream and its count', { skip }, async () => {
  const request = { model: MODEL, max_tokens: 12, temperature: 0, system: 'Be brief.',
    messages: [{ role: 'user', content: 'Say hello.' }] };
  const whole = await anthropic.messages.create(request);
  assert.equal(whole.type, 'message');
  assert.equal(whole.role, 'assistant');
  assert.equal(whole.content[0].type, 'text');
  assert.ok(['end_turn', 'max_tokens'].includes(whole.stop_reason));
  const stream = anthropic.messages.stream(request);
  let text = '';
  stream.on('text', (t) => (text += t));
  const last = await stream.finalMessage();
  assert.equal(text, whole.content[0].text);
  assert.deepEqual(last.content[0].text, text);
  assert.ok(last.usage.output_tokens > 0);
  const { input_tokens } = await anthropic.messages.countTokens({ model: MODEL, system: 'Be brief.',
    messages: request.messages });
  assert.equal(input_tokens, whole.usage.input_tokens);
});

test('anthropic: a forced tool call, and its result goes back', { skip }, async () => {
  const tools = [{ name: 'weather', description: 'The weather in a city.', input_schema: WEATHER }];
  const ask = { role: 'user', content: 'What is the weather in Paris?' };
  const first = await anthropic.messages.create({ model: TOOLS, max_tokens: 100, tools,
    tool_choice: { type: 'tool', name: 'weather' }, messages: [ask] });
  const call = first.content.find((b) => b.type === 'tool_use');
  assert.equal(call.name, 'weather');
  assert.equal(typeof call.input.city, 'string');
  assert.equal(first.stop_reason, 'tool_use');
  const second = await anthropic.messages.create({ model: TOOLS, max_tokens: 20, tools, messages: [ask,
    { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: 'sunny' }] }] });
  assert.equal(second.type, 'message');
});

test('anthropic: errors have their envelope', { skip }, async () => {
  await assert.rejects(anthropic.messages.create({ model: 'nope', max_tokens: 5,
    messages: [{ role: 'user', content: 'x' }] }), (e) => e.status === 404 && e.error?.type === 'error');
  await assert.rejects(anthropic.messages.create({ model: MODEL, max_tokens: 5, messages: [] }),
    (e) => e.status === 400);
});

test('openai: a response, its stream ends with its own event', { skip }, async () => {
  const request = { model: MODEL, input: 'Say hello.', max_output_tokens: 16, temperature: 0 };
  const whole = await openai.responses.create(request);
  assert.equal(whole.object, 'response');
  assert.ok(whole.output_text.length > 0);
  let text = '', last, at = -1;
  for await (const event of await openai.responses.create({ ...request, stream: true })) {
    assert.ok(event.sequence_number > at);
    at = event.sequence_number;
    if (event.type === 'response.output_text.delta') text += event.delta;
    last = event;
  }
  assert.ok(['response.completed', 'response.incomplete'].includes(last.type));
  assert.equal(text, whole.output_text);
  assert.equal(last.response.output[0].content[0].text, text);
});

test('openai: a response in a form', { skip }, async () => {
  const r = await openai.responses.create({ model: MODEL, input: 'Where is the Eiffel tower?',
    max_output_tokens: 100, text: { format: { type: 'json_schema', name: 'place',
      schema: { ...WEATHER, additionalProperties: false } } } });
  assert.equal(typeof JSON.parse(r.output_text).city, 'string');
});

test('openai: completions', { skip }, async () => {
  const r = await openai.completions.create({ model: MODEL, prompt: 'One, two, three,', max_tokens: 6, n: 2,
    temperature: 0 });
  assert.equal(r.object, 'text_completion');
  assert.deepEqual(r.choices.map((c) => c.index), [0, 1]);
  assert.equal(r.choices[0].text, r.choices[1].text);
});

async function vercel(model, providerOptions) {
  const { generateText, streamText, generateObject } = require('ai');
  const { z } = require('zod');
  const say = { model, prompt: 'Say hello.', maxOutputTokens: 12, temperature: 0, providerOptions };
  const whole = await generateText(say);
  assert.ok(whole.text.length > 0);
  const stream = streamText(say);
  let text = '';
  for await (const part of stream.textStream) text += part;
  assert.equal(text, whole.text);
  const { object } = await generateObject({ model, schema: z.object({ city: z.string().max(20) }),
    prompt: 'Where is the Eiffel tower?', maxOutputTokens: 100 });
  assert.equal(typeof object.city, 'string');
}

test('vercel ai sdk: the ollama provider', { skip }, async () => {
  const { createOllama } = require('ollama-ai-provider-v2');
  await vercel(createOllama({ baseURL: `${rig.url}/api` })(MODEL), { ollama: { options: { temperature: 0 } } });
});

test('vercel ai sdk: openai-compatible', { skip }, async () => {
  const { createOpenAICompatible } = require('@ai-sdk/openai-compatible');
  await vercel(createOpenAICompatible({ name: 'hob', baseURL: `${rig.url}/v1`,
    supportsStructuredOutputs: true })(MODEL));
});

test('langchain: chat, stream, structured output, embeddings', { skip }, async () => {
  const { ChatOllama, OllamaEmbeddings } = require('@langchain/ollama');
  const chat = new ChatOllama({ baseUrl: rig.url, model: MODEL, temperature: 0, numPredict: 12 });
  const whole = await chat.invoke('Say hello.');
  assert.ok(whole.content.length > 0);
  assert.ok(whole.usage_metadata.output_tokens > 0);
  let text = '';
  for await (const part of await chat.stream('Say hello.')) text += part.content;
  assert.equal(text, whole.content);
  const form = new ChatOllama({ baseUrl: rig.url, model: MODEL, numPredict: 100, format: WEATHER });
  assert.equal(typeof JSON.parse((await form.invoke('Where is the Eiffel tower?')).content).city, 'string');
  const tool = { type: 'function', function: { name: 'weather', description: 'The weather.', parameters: WEATHER } };
  const bound = new ChatOllama({ baseUrl: rig.url, model: TOOLS, numPredict: 20 }).bindTools([tool]);
  assert.ok(Array.isArray((await bound.invoke('What is the weather in Paris?')).tool_calls));
  const vecs = await new OllamaEmbeddings({ baseUrl: rig.url, model: 'all-minilm' }).embedDocuments(['a', 'b']);
  assert.deepEqual(vecs.map((v) => v.length), [384, 384]);
});
