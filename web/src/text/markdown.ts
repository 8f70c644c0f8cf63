/** Model output to safe HTML, block by block: only the block being written is made again.
 *
 * Raw HTML is never let through (`html: false`), what markdown-it makes is sanitised once more, pictures
 * come from this server only, and no style attribute is made (the policy forbids them). */
import DOMPurify from 'dompurify';
import MarkdownIt from 'markdown-it';
import type Token from 'markdown-it/lib/token.mjs';
import { t } from '../state/i18n.svelte';
import { math } from './math-rule';

const md: MarkdownIt = new MarkdownIt({ html: false, linkify: true, breaks: true, typographer: false });
md.use(math);

const escape = md.utils.escapeHtml;

md.renderer.rules.fence = (tokens, i) => codeBlock(tokens[i]!);
md.renderer.rules.code_block = (tokens, i) => codeBlock(tokens[i]!);
function codeBlock(token: Token): string {
  const lang = /^[\w+#.-]{1,30}/.exec(token.info.trim())?.[0] ?? '';
  return (
    `<div class="code"><div class="code-head"><span>${escape(lang || 'text')}</span>` +
    `<button type="button" data-copy aria-label="${escape(t('Copy code'))}">${escape(t('Copy'))}</button></div>` +
    `<pre tabindex="0"><code data-lang="${escape(lang.toLowerCase())}">${escape(token.content.replace(/\n$/, ''))}</code></pre></div>`
  );
}

// Tables scroll by themselves; alignment is a class because style attributes are forbidden.
md.renderer.rules.table_open = () => '<div class="table-box" tabindex="0"><table>';
md.renderer.rules.table_close = () => '</table></div>';
for (const rule of ['th_open', 'td_open']) {
  md.renderer.rules[rule] = (tokens, i) => {
    const token = tokens[i]!;
    const align = /text-align:(\w+)/.exec(String(token.attrGet('style') ?? ''))?.[1];
    return `<${token.tag}${align ? ` class="${align}"` : ''}>`;
  };
}

// Boxes of a list of tasks: signs, since nothing here can be ticked.
md.core.ruler.after('inline', 'tasks', (state) => {
  state.tokens.forEach((token, i) => {
    const first = token.children?.[0];
    const box = first?.type === 'text' && state.tokens[i - 2]?.type === 'list_item_open' ? /^\[([ xX])\] /.exec(first.content) : null;
    if (!box || !first) return;
    first.content = `${box[1] === ' ' ? '☐' : '☑'} ${first.content.slice(4)}`;
    state.tokens[i - 2]!.attrSet('class', 'task');
  });
});

const LOCAL_PICTURE = /^(\/api\/v1\/files\/[\w-]+\/content|data:image\/(png|jpeg|webp|gif);base64,[\w+/=]+)$/;
md.validateLink = (url) => /^(https?:|mailto:|#|\/api\/v1\/files\/)/i.test(url.trim()) || LOCAL_PICTURE.test(url.trim());
md.renderer.rules.image = (tokens, i) => {
  const src = String(tokens[i]!.attrGet('src') ?? '');
  const alt = escape(tokens[i]!.content || 'picture');
  if (LOCAL_PICTURE.test(src)) return `<img src="${escape(src)}" alt="${alt}">`;
  return `<a href="${escape(src)}" target="_blank" rel="noopener noreferrer nofollow">${alt}</a>`;
};
md.renderer.rules.link_open = (tokens, i) => {
  const href = escape(String(tokens[i]!.attrGet('href') ?? ''));
  return `<a href="${href}" target="_blank" rel="noopener noreferrer nofollow">`;
};

const ALLOWED = {
  ALLOWED_TAGS: (
    'a b blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span strong sub sup table tbody td th thead tr ul'
  ).split(' '),
  ALLOWED_ATTR: ['href', 'target', 'rel', 'src', 'alt', 'class', 'type', 'tabindex', 'start', 'data-copy', 'aria-label', 'data-lang', 'data-tex', 'data-display', 'data-cite'],
  ALLOW_DATA_ATTR: false,
  // Values that are no addresses: only `href` and `src` are held to the pattern below.
  ADD_URI_SAFE_ATTR: ['target', 'aria-label', 'rel', 'type', 'tabindex', 'start', 'data-lang', 'data-tex', 'data-display', 'data-cite'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#|\/api\/v1\/files\/|data:image\/(?:png|jpeg|webp|gif);base64,)/i,
};

export function renderBlock(source: string): string {
  return DOMPurify.sanitize(md.render(source), ALLOWED);
}

/** `[1]` and `[1, 2]` of an answer with sources become buttons that show the passage. */
export function withCitations(html: string, count: number): string {
  if (!count) return html;
  return html
    .split(/(<pre[\s\S]*?<\/pre>|<code[\s\S]*?<\/code>|<[^>]+>)/)
    .map((part) =>
      part.startsWith('<')
        ? part
        : part.replace(/\[(\d{1,2})\]/g, (whole, n: string) =>
            Number(n) >= 1 && Number(n) <= count ? `<button type="button" class="cite" data-cite="${n}">${n}</button>` : whole,
          ),
    )
    .join('');
}

/** Text in top-level blocks. `open` is where the last two of them begin: what is before stays as it is. */
export interface Blocks {
  text: string;
  list: string[];
  kept: number; // how many of `list` cannot change any more
  open: number; // offset in `text` after those
}

export const NO_BLOCKS: Blocks = { text: '', list: [], kept: 0, open: 0 };

/** The blocks of `text`; when it goes on from `before`, only its end is looked at again. */
export function splitBlocks(text: string, before: Blocks = NO_BLOCKS): Blocks {
  const goesOn = before.open > 0 && text.startsWith(before.text.slice(0, before.open));
  const from = goesOn ? before.open : 0;
  const kept = goesOn ? before.list.slice(0, before.kept) : [];
  const tail = text.slice(from);
  const tokens: Token[] = [];
  md.block.parse(tail, md, {}, tokens);
  const lines = [0];
  for (let i = tail.indexOf('\n'); i >= 0; i = tail.indexOf('\n', i + 1)) lines.push(i + 1);
  const starts = tokens.filter((x) => x.level === 0 && x.map && x.nesting >= 0).map((x) => lines[x.map![0]] ?? 0);
  if (!starts.length) return { text, list: tail.trim() ? [...kept, tail] : kept, kept: kept.length, open: from };
  starts[0] = 0;
  const list = [...kept, ...starts.map((s, i) => tail.slice(s, starts[i + 1] ?? tail.length))];
  const done = Math.max(0, starts.length - 2);
  return { text, list, kept: kept.length + done, open: from + (done ? starts[done]! : 0) };
}
