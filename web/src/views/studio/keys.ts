/** The studio's keys: those people know from ComfyUI. */
import { studio } from '../../state/studio.svelte';

export interface Actions {
  search: () => void;
  queue: () => void;
  save: () => void;
  open: () => void;
  panel: () => void;
  at: () => { x: number; y: number };
  zoom: (direction: number) => void;
}

export const STUDIO_KEYS: [string, string][] = [
  ['Ctrl Enter', 'Queue'],
  ['Space', 'Add a node'],
  ['Ctrl C', 'Copy'],
  ['Ctrl V', 'Paste'],
  ['Ctrl A', 'Select all'],
  ['Ctrl Z', 'Undo'],
  ['Ctrl Y', 'Redo'],
  ['Delete', 'Delete'],
  ['Ctrl M', 'Mute'],
  ['Ctrl B', 'Bypass'],
  ['Ctrl G', 'Group'],
  ['Ctrl S', 'Save'],
  ['Ctrl O', 'Open'],
  ['.', 'Show all'],
  ['Q', 'Jobs and pictures'],
];

const typing = (e: KeyboardEvent): boolean => e.target instanceof HTMLElement && (/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName) || e.target.isContentEditable);

export function studioKeys(a: Actions): (e: KeyboardEvent) => void {
  return (e) => {
    if (document.querySelector('dialog[open]')) return;
    const ctrl = e.ctrlKey || e.metaKey;
    const key = e.key.toLowerCase();
    const always: Record<string, () => void> = { enter: a.queue, s: a.save, o: a.open };
    const run: (() => void) | undefined = ctrl && !e.shiftKey ? always[key] : undefined;
    if (run) {
      e.preventDefault();
      return run();
    }
    if (typing(e)) return;
    const withCtrl: Record<string, () => void> = {
      z: () => (e.shiftKey ? studio.redo() : studio.undo()), y: () => studio.redo(), c: () => studio.copy(), v: () => studio.paste(a.at()),
      a: () => studio.selectAll(), m: () => studio.setMode(2), b: () => studio.setMode(4), g: () => studio.group(),
      d: () => { studio.copy(); studio.paste(); },
    };
    const onButton = e.target instanceof HTMLElement && /^(BUTTON|A)$/.test(e.target.tagName);
    const plain: Record<string, () => void> = { '.': () => studio.fit(true), q: a.panel, delete: () => studio.remove(), backspace: () => studio.remove(), '+': () => a.zoom(1), '-': () => a.zoom(-1), ...(onButton ? {} : { ' ': a.search }) };
    const found = ctrl ? withCtrl[key] : e.altKey ? undefined : plain[key];
    if (!found || (ctrl && key === 'c' && String(getSelection()))) return;
    e.preventDefault();
    found();
  };
}
