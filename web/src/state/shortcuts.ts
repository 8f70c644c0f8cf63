/** The page's keys. Those of the studio are its own. */
import { app } from './app.svelte';
import { go } from './router.svelte';

export const SHORTCUTS: [string, string][] = [
  ['Ctrl K', 'Search chats'],
  ['Ctrl Shift O', 'New chat'],
  ['Ctrl Shift S', 'Show or hide the sidebar'],
  ['Ctrl /', 'These shortcuts'],
  ['Shift Esc', 'Back to the text field'],
  ['Ctrl Shift C', 'Copy the last answer'],
  ['Enter', 'Send'],
  ['Shift Enter', 'A new line'],
  ['↑', 'Edit your last message (in an empty field)'],
];

export function focusComposer(): void {
  document.querySelector<HTMLElement>('[data-composer]')?.focus();
}

function copyLast(): void {
  const last = [...document.querySelectorAll('article:not(.mine)')].at(-1);
  last?.querySelector<HTMLElement>('[data-copy-answer]')?.click();
}

export function onShortcut(e: KeyboardEvent): void {
  const ctrl = e.ctrlKey || e.metaKey;
  const key = e.key.toLowerCase();
  if (ctrl && !e.shiftKey && key === 'k') app.searchOpen = !app.searchOpen;
  else if (ctrl && e.shiftKey && key === 'o') newChat();
  else if (ctrl && e.shiftKey && key === 's') app.toggleSidebar();
  else if (ctrl && e.key === '/') app.shortcutsOpen = !app.shortcutsOpen;
  else if (ctrl && e.shiftKey && key === 'c') copyLast();
  else if (e.shiftKey && e.key === 'Escape') focusComposer();
  else return;
  e.preventDefault();
}

export function newChat(): void {
  go('/');
  if (innerWidth < 900) app.sidebarOpen = false;
  requestAnimationFrame(focusComposer);
}
