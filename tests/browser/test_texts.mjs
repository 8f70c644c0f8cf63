// Without a browser: every text of the page is in the German catalogue, and no file of the page is too long.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEB = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../web/src');
const files = fs.readdirSync(WEB, { recursive: true }).map(String).filter((f) => /\.(svelte|ts)$/.test(f));
const read = (f) => fs.readFileSync(path.join(WEB, f), 'utf8');

it('every text has its German', () => {
  const german = read('messages/de.ts');
  const has = (key) => german.includes(`'${key}':`) || new RegExp(`^  ${key.replace(/[^\w]/g, '')}:`, 'm').test(german);
  const missing = new Set();
  for (const f of files) {
    for (const m of read(f).matchAll(/\bt\(\s*'((?:[^'\\]|\\.)*)'/g)) if (!has(m[1])) missing.add(`${f}: ${m[1]}`);
  }
  for (const f of ['views/settings/Settings.svelte', 'views/settings/Look.svelte', 'state/params.ts']) {
    for (const m of read(f).matchAll(/(?:name|help): '([^']+)'/g)) if (!has(m[1])) missing.add(`${f}: ${m[1]}`);
  }
  for (const f of ['state/shortcuts.ts', 'views/studio/keys.ts']) {
    for (const m of read(f).matchAll(/\['[^']*', '([^']+)'\]/g)) if (!has(m[1])) missing.add(`${f}: ${m[1]}`);
  }
  assert.deepEqual([...missing], []);
});

it('files stay readable: at most 300 lines, no `any`', () => {
  const found = [];
  for (const f of files.filter((x) => !x.startsWith('messages'))) {
    const text = read(f);
    if (text.split('\n').length > 300) found.push(`${f}: ${text.split('\n').length} lines`);
    if (/(:|<|as) any\b/.test(text)) found.push(`${f}: any`);
    if (/\bfetch\(/.test(text) && !f.startsWith('api/')) found.push(`${f}: fetch outside api/`);
    if (/\bstyle="(?!width:8px)/.test(text)) found.push(`${f}: a style attribute`);
  }
  assert.deepEqual(found, []);
});
