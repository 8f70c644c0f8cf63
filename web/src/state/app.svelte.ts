/** What every view may need: who is here, how it looks, short notices, the sidebar. */
import * as rest from '../api/rest';
import { messageOf, whenSignedOut } from '../api/http';
import type { Config, User } from '../api/types';

export type Theme = 'system' | 'light' | 'dark';
export interface Toast {
  id: number;
  text: string;
  kind: 'info' | 'error';
}

class App {
  user = $state.raw<User | null>(null);
  config = $state.raw<Config | null>(null);
  ready = $state(false);
  offline = $state(false);
  linked = $state(true); // the user's event stream
  #lost: ReturnType<typeof setTimeout> | undefined;
  theme = $state<Theme>((localStorage.getItem('hob.theme') as Theme | null) ?? 'system');
  sidebarOpen = $state(innerWidth >= 900 && localStorage.getItem('hob.sidebar') !== 'closed');
  toasts = $state<Toast[]>([]);
  searchOpen = $state(false);
  sharing = $state.raw<{ id: string; title: string } | null>(null);
  shortcutsOpen = $state(false);

  get isAdmin(): boolean {
    return this.user?.role === 'admin';
  }

  async start(): Promise<void> {
    whenSignedOut(() => (this.user = null));
    try {
      this.config = await rest.config();
      this.user = await rest.me().catch(() => null);
      this.offline = false;
    } catch {
      this.offline = true;
      setTimeout(() => void this.start(), 1500);
    }
    this.ready = true;
  }

  /** A short gap (a reload, another network) is not told. */
  onLink(up: boolean): void {
    if (!up) {
      this.#lost ??= setTimeout(() => (this.linked = false), 1500);
      return;
    }
    clearTimeout(this.#lost);
    this.#lost = undefined;
    this.linked = true;
  }

  async signOut(): Promise<void> {
    await rest.signOut().catch(() => {});
    location.assign('/');
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    localStorage.setItem('hob.theme', theme);
    applyTheme(theme);
  }

  toggleSidebar(open = !this.sidebarOpen): void {
    this.sidebarOpen = open;
    if (innerWidth >= 900) localStorage.setItem('hob.sidebar', open ? 'open' : 'closed');
  }

  say(text: string, kind: Toast['kind'] = 'info'): void {
    const id = Date.now() + Math.random();
    this.toasts = this.toasts.filter((x) => x.text !== text); // said again: once is enough
    this.toasts.push({ id, text, kind });
    if (this.toasts.length > 4) this.toasts.shift();
    setTimeout(() => this.dismiss(id), kind === 'error' ? 9000 : 4000);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((x) => x.id !== id);
  }

  /** Runs something the user asked for; what goes wrong is told. True when it worked. */
  async attempt(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (e) {
      this.say(messageOf(e), 'error');
      return false;
    }
  }
}

const dark = matchMedia('(prefers-color-scheme: dark)');
function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme === 'system' ? (dark.matches ? 'dark' : 'light') : theme;
}

export const app = new App();
applyTheme(app.theme);
dark.addEventListener('change', () => applyTheme(app.theme));
