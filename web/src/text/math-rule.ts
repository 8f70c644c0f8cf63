/** $...$, $$...$$, \(...\) and \[...\] for markdown-it: places for KaTeX, which is loaded when one is seen. */
import type MarkdownIt from 'markdown-it';

const place = (md: MarkdownIt, tex: string, display: boolean): string =>
  `<span class="math${display ? ' display' : ''}" data-tex="${md.utils.escapeHtml(tex)}"${display ? ' data-display="1"' : ''}>` +
  `${md.utils.escapeHtml(tex)}</span>`;

/** [opening, closing, display] found at `pos`, or null. */
function opening(src: string, pos: number): [string, string, boolean] | null {
  if (src.startsWith('$$', pos)) return ['$$', '$$', true];
  if (src.startsWith('\\[', pos)) return ['\\[', '\\]', true];
  if (src.startsWith('\\(', pos)) return ['\\(', '\\)', false];
  if (src[pos] === '$' && !/[\s\d]/.test(src[pos + 1] ?? ' ')) return ['$', '$', false];
  return src[pos] === '$' && /\d/.test(src[pos + 1] ?? '') && /^\$[^$\n]*[\\^_=+*/<>-][^$\n]*\$(?!\d)/.test(src.slice(pos)) ? ['$', '$', false] : null;
}

export function math(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'math', (state, silent) => {
    const found = opening(state.src, state.pos);
    if (!found) return false;
    const [open, close, display] = found;
    const start = state.pos + open.length;
    const end = state.src.indexOf(close, start);
    if (end < 0 || end === start) return false;
    const tex = state.src.slice(start, end);
    if (open === '$' && (/\s$/.test(tex) || /\d/.test(state.src[end + 1] ?? ''))) return false;
    if (!silent) {
      const token = state.push('math', '', 0);
      token.content = tex;
      token.meta = { display };
    }
    state.pos = end + close.length;
    return true;
  });
  md.block.ruler.before('fence', 'math_block', (state, startLine, endLine, silent) => {
    const at = (line: number): string => state.src.slice(state.bMarks[line]! + state.tShift[line]!, state.eMarks[line]!);
    const first = at(startLine);
    const close = first.startsWith('$$') ? '$$' : first.startsWith('\\[') ? '\\]' : '';
    if (!close) return false;
    if (silent) return true;
    let text = first.slice(2);
    let line = startLine;
    while (!text.trimEnd().endsWith(close)) {
      if (++line >= endLine) return false;
      text += `\n${at(line)}`;
    }
    const token = state.push('math', '', 0);
    token.block = true;
    token.content = text.trimEnd().slice(0, -close.length).trim();
    token.meta = { display: true };
    token.map = [startLine, line + 1];
    state.line = line + 1;
    return true;
  }, { alt: ['paragraph'] });
  md.renderer.rules.math = (tokens, i) => {
    const meta = tokens[i]!.meta as { display: boolean };
    const html = place(md, tokens[i]!.content, meta.display);
    return tokens[i]!.block ? `<p>${html}</p>\n` : html;
  };
}
