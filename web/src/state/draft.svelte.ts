/** What the user is about to send: text, files, knowledge, the picture mode. Kept per chat in this tab. */
import * as api from '../api/chats';
import * as rest from '../api/rest';
import { messageOf } from '../api/http';
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

export class Draft {
  text = $state('');
  model = $state('');
  attachments = $state<Attachment[]>([]);
  knowledge = $state.raw<{ id: string; name: string }[]>([]);
  picture = $state(false);
  pictureInputs = $state<Wish>({});
  system = $state('');
  params = $state.raw<Params>({});
  think = $state<boolean | undefined>(undefined);
  sending = $state(false);
  /** The chat that sending made, until its page opens. */
  made: Thread | null = null;
  #key = 0;
  #where: string | null = null;
  #settingsOf: Thread | null = null;

  /** The page shows another chat: its draft comes back, and what the chat has set. */
  enter(id: string | null, thread: Thread | null): void {
    const key = `hob.draft.${id ?? ''}`;
    if (this.#where !== key) {
      this.#where = key;
      this.text = sessionStorage.getItem(key) ?? '';
      this.attachments = [];
      this.model = '';
      this.knowledge = [];
      if (!id) {
        this.#settingsOf = null;
        this.system = '';
        this.params = {};
      }
    }
    if (thread?.chat && this.#settingsOf !== thread) {
      this.#settingsOf = thread;
      this.system = thread.chat.system ?? '';
      this.params = thread.chat.params ?? {};
      const known = (thread.chat.meta?.knowledge as { id: string; name: string }[] | undefined) ?? [];
      if (!this.knowledge.length) this.knowledge = known;
    }
  }

  keep(): void {
    if (!this.#where) return;
    if (this.text) sessionStorage.setItem(this.#where, this.text.slice(0, 200000));
    else sessionStorage.removeItem(this.#where);
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
        this.made = to;
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
