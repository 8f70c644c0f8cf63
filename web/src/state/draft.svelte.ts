/** What the user is about to send: text, files, knowledge, the picture mode. Each chat has its own, kept in this tab. */
import * as api from '../api/chats';
import * as rest from '../api/rest';
import { ApiError, messageOf } from '../api/http';
import type { FileInfo, FileRef, Params } from '../api/types';
import { app } from './app.svelte';
import { t } from './i18n.svelte';
import { models } from './models.svelte';
import { go, route } from './router.svelte';
import { sidebar } from './sidebar.svelte';
import { Thread, type Msg } from './thread.svelte';

export interface Attachment {
  key: number;
  name: string;
  share: number; // of the upload
  info: FileInfo | null;
  error: string;
}

type Wish = Record<string, string | number | bigint | null>;
/** What an edited wish for a picture takes over from the first one: all but the seed. */
const AGAIN = ['negative', 'width', 'height', 'steps', 'cfg', 'sampler', 'scheduler', 'checkpoint', 'strength', 'n'];

/** What a reload brings back. */
interface Kept {
  text?: string;
  files?: FileInfo[];
  knowledge?: Named[];
  picture?: boolean;
}
interface Named {
  id: string;
  name: string;
}

const drafts = new Map<string, Draft>();
/** The chat that sending made, until its page opens. */
let opened: Thread | null = null;

/** The draft of a chat, or (null) of the one that is to be. */
export function draftOf(id: string | null): Draft {
  const key = `hob.draft.${app.user?.id ?? ''}.${id ?? ''}`;
  const known = drafts.get(key);
  if (known) return known;
  const draft = new Draft(key);
  drafts.set(key, draft);
  return draft;
}

export function takeMade(id: string): Thread | null {
  const t = opened;
  opened = null;
  return t?.id === id ? t : null;
}

export class Draft {
  text = $state('');
  model = $state('');
  attachments = $state<Attachment[]>([]);
  knowledge = $state.raw<Named[]>([]);
  picture = $state(false);
  pictureInputs = $state<Wish>({});
  system = $state('');
  params = $state.raw<Params>({});
  think = $state<boolean | undefined>(undefined);
  sending = $state(false);
  #key = 0;
  readonly #where: string;
  #settingsOf: Thread | null = null;

  constructor(where: string) {
    this.#where = where;
    let kept: Kept = {};
    try {
      kept = JSON.parse(sessionStorage.getItem(this.#where) ?? '{}') as Kept;
    } catch { /* nothing of ours */ }
    this.text = kept.text ?? '';
    this.knowledge = kept.knowledge ?? [];
    this.picture = kept.picture ?? false;
    for (const f of kept.files ?? []) this.attachFile(f);
    void this.#forgetDeleted();
  }

  /** What the chat has set, when it was opened. */
  settle(thread: Thread): void {
    if (!thread.chat || this.#settingsOf === thread) return;
    this.#settingsOf = thread;
    this.system = thread.chat.system ?? '';
    this.params = thread.chat.params ?? {};
  }

  keep(): void {
    const files = this.attachments.flatMap((a) => (a.info ? [a.info] : []));
    const kept: Kept = { text: this.text.slice(0, 200000), files, knowledge: this.knowledge, picture: this.picture };
    try {
      if (kept.text || files.length || this.knowledge.length || this.picture) sessionStorage.setItem(this.#where, JSON.stringify(kept));
      else sessionStorage.removeItem(this.#where);
    } catch { /* the browser keeps no more: the draft lasts as long as the page */ }
  }

  /** Files of a draft from before a reload may be gone. */
  async #forgetDeleted(): Promise<void> {
    for (const { key, info } of [...this.attachments]) {
      if (info && (await rest.file(info.id).then(() => false, (e: unknown) => e instanceof ApiError && e.status === 404))) this.detach(key);
    }
  }

  get ready(): boolean {
    const waiting = this.attachments.some((a) => !a.info && !a.error);
    return !this.sending && !waiting && (this.text.trim() !== '' || this.attachments.some((a) => a.info));
  }

  async attach(files: Iterable<File>): Promise<void> {
    await Promise.all([...files].slice(0, 20).map((f) => this.#attachOne(f)));
  }

  async #attachOne(file: File): Promise<void> {
    const key = ++this.#key;
    this.attachments.push({ key, name: file.name, share: 0, info: null, error: '' });
    const mine = (): Attachment | undefined => this.attachments.find((a) => a.key === key);
    try {
      const info = await rest.uploadFile(file, (share) => {
        const a = mine();
        if (a) a.share = share;
      });
      const a = mine();
      if (a) a.info = info;
      this.keep(); // the page may show another chat meanwhile
    } catch (e) {
      const a = mine();
      if (a) a.error = messageOf(e);
      app.say(`${file.name}: ${messageOf(e)}`, 'error');
    }
  }

  /** A file that is on the server already. */
  attachFile(info: FileInfo): void {
    if (this.attachments.some((a) => a.info?.id === info.id)) return;
    this.attachments.push({ key: ++this.#key, name: info.name, share: 1, info, error: '' });
  }

  detach(key: number): void {
    this.attachments = this.attachments.filter((a) => a.key !== key);
  }

  /** Sends text (or the draft); `parent` undefined = go on from the shown leaf. */
  async send(thread: Thread | null, model: string, edited?: { of: Msg; text: string }): Promise<void> {
    const fromDraft = !edited;
    const text = edited?.text ?? this.text;
    const parent = edited?.of.parent_id;
    if (this.sending || (!text.trim() && (edited || !this.attachments.length))) return;
    if (!model && !this.picture) {
      app.say(t('There is no model yet. Pull one first.'), 'error');
      return;
    }
    this.sending = true;
    try {
      const to = thread ?? (await this.#newChat(model));
      const files: FileRef[] = edited ? (edited.of.info.files ?? []) : this.attachments.flatMap((a) => (a.info ? [a.info] : []));
      const knowledge = edited ? (edited.of.info.knowledge ?? []) : this.knowledge;
      const made = edited && thread?.children.get(edited.of.id)?.find((m) => m.info.picture)?.info.picture?.inputs;
      const wish = edited ? made && Object.fromEntries(AGAIN.flatMap((k) => (made[k] === undefined ? [] : [[k, made[k]]]))) : this.picture && this.pictureInputs;
      const pair = wish ? await this.#sendPicture(to, wish, { text, files, parent }) : await this.#sendText(to, model, { text, files, knowledge, parent });
      to.add(pair);
      if (fromDraft) {
        this.text = '';
        this.attachments = [];
        this.keep();
      }
      if (!thread) {
        opened = to;
        drafts.delete(this.#where);
        const next = draftOf(to.id);
        next.knowledge = this.knowledge;
        next.think = this.think;
        next.picture = this.picture;
        next.pictureInputs = this.pictureInputs;
        this.knowledge = [];
        this.picture = false;
        this.keep();
        go(`/c/${to.id}`);
      }
    } catch (e) {
      app.say(messageOf(e), 'error');
    } finally {
      this.sending = false;
    }
  }

  async #newChat(model: string): Promise<Thread> {
    const chat = await api.newChat({
      model: model || undefined,
      system: this.system || undefined,
      params: Object.keys(this.params).length ? this.params : undefined,
      folder_id: route.query.get('folder') ?? undefined,
    });
    sidebar.put(chat);
    return new Thread(chat.id);
  }

  #sendText(to: Thread, model: string, q: { text: string; files: FileRef[]; knowledge: { id: string }[]; parent?: string | null }): ReturnType<typeof api.sendMessage> {
    const { files, knowledge, parent } = q;
    return api.sendMessage(to.id, {
      content: q.text,
      model,
      ...(parent !== undefined ? { parent_id: parent } : to.currentId ? { parent_id: to.currentId } : {}),
      ...(files.length ? { files: files.map((f) => f.id) } : {}),
      ...(knowledge.length ? { knowledge: knowledge.map((k) => k.id) } : {}),
      ...(this.think !== undefined ? { think: this.think } : {}),
    });
  }

  #sendPicture(to: Thread, wish: Wish, q: { text: string; files: FileRef[]; parent?: string | null }): ReturnType<typeof api.makePicture> {
    const { files, parent } = q;
    const image = files.find((f) => f.kind === 'image');
    const inputs = Object.fromEntries(Object.entries(wish).filter(([, v]) => v !== null && v !== ''));
    return api.makePicture(to.id, {
      ...inputs,
      prompt: q.text,
      ...(image ? { image: image.id } : {}),
      ...(parent !== undefined ? { parent_id: parent } : to.currentId ? { parent_id: to.currentId } : {}),
    });
  }

  async edit(thread: Thread, m: Msg, text: string, model: string): Promise<void> {
    await this.send(thread, models.find(model) ? model : models.current, { of: m, text });
  }
}
