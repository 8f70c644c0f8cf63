/** One open chat: its messages, and the live stream that keeps every tab the same. */
import { SvelteMap } from 'svelte/reactivity';
import * as api from '../api/chats';
import { openEvents, type EventFeed } from '../api/events';
import { ApiError, messageOf } from '../api/http';
import type { ChatInfo, Message, Source, State, ThreadData } from '../api/types';
import { t } from './i18n.svelte';
import { childrenOf, leafBelow, pathTo } from './tree';

export const RUNNING: readonly State[] = ['queued', 'loading', 'reading', 'thinking', 'writing'];

/** How far a running answer or picture is. */
export interface Progress {
  percent?: number;
  done?: number;
  total?: number;
  place?: number; // how many are before it
  node?: string;
  value?: number;
  max?: number;
}

export class Msg {
  id: string;
  parent_id: string | null;
  role: Message['role'];
  info = $state.raw<Message>(null!);
  content = $state('');
  thinking = $state('');
  state = $state<State>('done');
  progress = $state.raw<Progress>({});
  tokensPerS = $state(0);
  preview = $state('');
  startedAt = 0;

  constructor(m: Message) {
    this.id = m.id;
    this.parent_id = m.parent_id;
    this.role = m.role;
    this.take(m);
  }

  take(m: Message): void {
    this.info = m;
    this.state = m.state ?? 'done';
    if (m.content !== null) this.content = m.content;
    this.thinking = m.thinking ?? '';
    if (!this.running) this.preview = '';
    if (this.state === 'queued' && m.place !== undefined) this.progress = { place: m.place };
  }

  get running(): boolean {
    return RUNNING.includes(this.state);
  }
}

export class Thread {
  id: string;
  chat = $state.raw<ThreadData | null>(null);
  messages = new SvelteMap<string, Msg>();
  currentId = $state<string | null>(null);
  error = $state('');
  linked = $state(true);
  #feed: EventFeed | null = null;
  #closed = false;

  readonly children = $derived(childrenOf(this.messages.values()));
  readonly path = $derived(pathTo(this.messages, this.currentId));
  readonly running = $derived([...this.path].reverse().find((m) => m.running));

  constructor(id: string) {
    this.id = id;
  }

  async open(): Promise<void> {
    try {
      const data = await api.thread(this.id);
      if (this.#closed) return;
      for (const m of data.messages) this.put(m);
      const known = new Set(data.messages.map((m) => m.id));
      for (const id of this.messages.keys()) if (!known.has(id)) this.messages.delete(id);
      this.chat = data;
      this.currentId = data.current_id;
      this.error = '';
      this.#listen(data.event_id);
    } catch (e) {
      this.error = e instanceof ApiError && e.status === 404 ? t('It was deleted, or it belongs to somebody else.') : messageOf(e);
    }
  }

  close(): void {
    this.#closed = true;
    this.#feed?.close();
  }

  put(m: Message): Msg {
    const old = this.messages.get(m.id);
    if (old) {
      old.take(m);
      return old;
    }
    const made = new Msg(m);
    this.messages.set(m.id, made);
    return made;
  }

  /** A pair that a request of this tab made: shown at once, the stream fills it. */
  add(pair: { user?: Message; assistant?: Message }): void {
    for (const m of [pair.user, pair.assistant]) {
      if (!m) continue;
      if (!this.messages.has(m.id)) this.put(m); // else the stream was faster and knows more
    }
    const last = pair.assistant ?? pair.user;
    if (last) this.currentId = last.id;
  }

  siblings(m: Msg): Msg[] {
    return this.children.get(m.parent_id) ?? [m];
  }

  async show(id: string): Promise<void> {
    const leaf = leafBelow(this.children, id);
    this.currentId = leaf;
    const missing = this.path.filter((m) => m.info.content === null);
    await Promise.all(missing.map(async (m) => m.take(await api.oneMessage(this.id, m.id))));
    await api.changeChat(this.id, { current_id: leaf }).catch(() => {});
  }

  #listen(after: string): void {
    this.#feed?.close();
    const of = (d: unknown): Msg | undefined => this.messages.get((d as { message_id: string }).message_id);
    this.#feed = openEvents((last) => api.chatEventsUrl(this.id, last), after, {
      message: (d) => this.#onMessage(d as Message),
      end: (d) => void this.put(d as Message),
      state: (d) => {
        const m = of(d);
        if (!m) return;
        const s = d as { state: State } & Progress;
        m.state = s.state;
        m.progress = s.state === 'queued' ? { place: s.done } : s;
      },
      delta: (d) => this.#onDelta(of(d), d as { text?: string; thinking?: string }),
      rate: (d) => {
        const m = of(d);
        if (m) m.tokensPerS = (d as { tokens_per_s: number }).tokens_per_s;
      },
      sources: (d) => {
        const m = of(d);
        if (m) m.info = { ...m.info, sources: (d as { sources: Source[] }).sources };
      },
      picture: (d) => {
        const m = of(d);
        if (!m) return;
        m.progress = d as Progress;
        if ((d as { state: string }).state === 'running') m.state = 'writing';
      },
      preview: (d) => {
        const m = of(d);
        const p = d as { mime: string; data: string };
        if (m) m.preview = `data:${p.mime};base64,${p.data}`;
      },
      deleted: (d) => this.#forget((d as { message_id: string }).message_id),
      chat: (d) => {
        if (this.chat) this.chat = { ...this.chat, ...(d as ChatInfo), current_id: this.chat.current_id };
      },
      reset: () => void this.open(),
    }, (up) => (this.linked = up));
  }

  #onMessage(m: Message): void {
    const isNew = !this.messages.has(m.id);
    this.put(m);
    // Another tab goes on from what is shown here: follow it.
    if (isNew && m.parent_id === this.currentId) this.currentId = m.id;
  }

  #onDelta(m: Msg | undefined, d: { text?: string; thinking?: string }): void {
    if (!m) return;
    if (d.thinking) {
      m.startedAt ||= Date.now();
      m.thinking += d.thinking;
      m.state = 'thinking';
    }
    if (d.text) {
      m.content += d.text;
      m.state = 'writing';
    }
  }

  #forget(id: string): void {
    const parent = this.messages.get(id)?.parent_id ?? null;
    const gone = [id];
    for (let i = 0; i < gone.length; i++) for (const c of this.children.get(gone[i]!) ?? []) gone.push(c.id);
    const shown = this.path.some((m) => gone.includes(m.id));
    for (const x of gone) this.messages.delete(x);
    if (shown) {
      const next = this.children.get(parent)?.at(-1);
      this.currentId = next ? leafBelow(this.children, next.id) : parent;
    }
  }

  async remove(id: string): Promise<void> {
    await api.deleteMessage(this.id, id);
    this.#forget(id);
  }
}
