/** The list of chats at the left, kept true by the user's event stream. */
import * as api from '../api/chats';
import { openEvents, type EventFeed } from '../api/events';
import { userEventsUrl } from '../api/rest';
import type { ChatInfo, FileInfo, Folder, Pull } from '../api/types';
import { app } from './app.svelte';
import { dateGroup } from './format';
import { models } from './models.svelte';
import { go, route } from './router.svelte';

const PAGE = 60;

class Sidebar {
  chats = $state.raw<ChatInfo[]>([]);
  folders = $state.raw<Folder[]>([]);
  loaded = $state(false);
  more = $state(false);
  #feed: EventFeed | null = null;
  #onFile = new Set<(f: FileInfo) => void>();

  readonly pinned = $derived(this.chats.filter((c) => c.pinned && !c.archived));
  readonly groups = $derived.by(() => {
    const out: { name: string; chats: ChatInfo[] }[] = [];
    for (const c of this.chats) {
      if (c.pinned || c.archived || c.folder_id) continue;
      const name = dateGroup(c.updated_at);
      const group = out.at(-1)?.name === name ? out.at(-1)! : { name, chats: [] };
      if (group !== out.at(-1)) out.push(group);
      group.chats.push(c);
    }
    return out;
  });

  /** Folders in the order they are shown: each below the one it lies in, and not below a closed one. */
  readonly tree = $derived.by(() => {
    const known = new Set(this.folders.map((f) => f.id));
    const out: { folder: Folder; depth: number }[] = [];
    const add = (parent: string | null, depth: number): void => {
      for (const folder of this.folders) {
        if ((folder.parent_id && known.has(folder.parent_id) ? folder.parent_id : null) !== parent || depth > 32) continue;
        out.push({ folder, depth });
        if (folder.is_expanded !== false) add(folder.id, depth + 1);
      }
    };
    add(null, 0);
    return out;
  });

  /** The folder, or one that it lies in. */
  within(folder: Folder, outer: string): boolean {
    let at: Folder | undefined = folder;
    for (let i = 0; at && i < 33; i++, at = this.folders.find((f) => f.id === at?.parent_id)) if (at.id === outer) return true;
    return false;
  }

  inFolder(id: string): ChatInfo[] {
    return this.chats.filter((c) => c.folder_id === id && !c.pinned && !c.archived);
  }

  #set(list: ChatInfo[]): void {
    const seen = new Map<string, ChatInfo>();
    for (const c of list) if (!c.archived) seen.set(c.id, { ...seen.get(c.id), ...c });
    this.chats = [...seen.values()].sort((a, b) => b.updated_at - a.updated_at);
  }

  async load(): Promise<void> {
    const [page, pinned, folders] = await Promise.all([api.chatPage(), api.pinnedChats(), api.folders()]);
    this.#set([...page, ...pinned]);
    this.folders = folders;
    this.more = page.length >= PAGE;
    this.loaded = true;
  }

  async loadMore(): Promise<void> {
    const last = this.chats.filter((c) => c.cursor).at(-1);
    if (!last?.cursor || !this.more) return;
    this.more = false;
    const page = await api.chatPage(last.cursor);
    this.#set([...this.chats, ...page]);
    this.more = page.length >= PAGE;
  }

  put(chat: ChatInfo): void {
    const old = this.chats.find((c) => c.id === chat.id);
    this.#set([...this.chats.filter((c) => c.id !== chat.id), { ...old, ...chat }]);
  }

  drop(id: string): void {
    this.chats = this.chats.filter((c) => c.id !== id);
    if (route.parts[0] === 'c' && route.parts[1] === id) go('/', true);
  }

  onFile(f: (file: FileInfo) => void): () => void {
    this.#onFile.add(f);
    return () => this.#onFile.delete(f);
  }

  start(): void {
    this.#feed?.close();
    void Promise.all([this.load(), models.refresh(), models.refreshPulls()]).catch(() => {});
    const again = (): void => void Promise.all([this.load(), models.refresh()]).catch(() => {});
    this.#feed = openEvents((after) => (after ? `${userEventsUrl}?after=${encodeURIComponent(after)}` : userEventsUrl), '', {
      chat: (d) => this.put(d as ChatInfo),
      chat_deleted: (d) => this.drop((d as { id: string }).id),
      folder: (d) => {
        const f = d as Folder;
        this.folders = [...this.folders.filter((x) => x.id !== f.id), f].sort((a, b) => a.name.localeCompare(b.name));
      },
      folder_deleted: (d) => {
        this.folders = this.folders.filter((x) => x.id !== (d as { id: string }).id);
        void this.load();
      },
      models: () => void models.refresh().catch(() => {}),
      pull: (d) => models.onPull(d as Pull),
      file: (d) => this.#onFile.forEach((f) => f(d as FileInfo)),
      reset: again,
    }, (up) => app.onLink(up));
  }

  stop(): void {
    this.#feed?.close();
    this.#feed = null;
  }
}

export const sidebar = new Sidebar();
