/** Picture jobs: what waits, what runs and how far, what was made. Fed by the picture API's WebSocket. */
import { SvelteMap } from 'svelte/reactivity';
import * as comfy from '../api/comfy';
import type { ApiGraph } from '../graph/api-format';
import { app } from './app.svelte';
import { randomId } from './device';
import { t } from './i18n.svelte';

export interface Made {
  id: string;
  images: comfy.ImageRef[];
  status: string;
  error: string;
  prompt: ApiGraph;
  workflow: unknown;
}

const HISTORY = 60;

function clientId(): string {
  const kept = sessionStorage.getItem('hob.client') ?? randomId();
  sessionStorage.setItem('hob.client', kept);
  return kept;
}

function madeOf(id: string, e: comfy.HistoryEntry): Made {
  const failure = e.status.messages.find(([type]) => type === 'execution_error')?.[1];
  return {
    id,
    images: Object.values(e.outputs).flatMap((o) => o.images ?? []),
    status: e.status.messages.some(([type]) => type === 'execution_interrupted') ? 'stopped' : e.status.status_str,
    error: failure ? String(failure.exception_message ?? '') : '',
    prompt: e.prompt[2],
    workflow: e.prompt[3]?.extra_pnginfo?.workflow,
  };
}

class PictureQueue {
  readonly clientId = clientId();
  linked = $state(false);
  remaining = $state(0);
  promptId = $state<string | null>(null); // running, of this client
  node = $state<string | null>(null);
  progress = new SvelteMap<string, { value: number; max: number; state: string }>();
  previews = new SvelteMap<string, string>();
  outputs = new SvelteMap<string, comfy.ImageRef[]>();
  texts = new SvelteMap<string, string>();
  errors = new SvelteMap<string, string>();
  problem = $state('');
  made = $state.raw<Made[]>([]);
  pending = $state.raw<{ id: string; running: boolean; prompt: ApiGraph }[]>([]);
  #socket: comfy.ComfySocket | null = null;
  #users = 0;

  /** Percent of the step that runs now. */
  readonly percent = $derived.by(() => {
    const p = this.node ? this.progress.get(this.node) : undefined;
    return p && p.max > 0 ? (100 * p.value) / p.max : 0;
  });

  /** Pages that show pictures hold it open. Returns the release. */
  use(): () => void {
    if (this.#users++ === 0) {
      this.#socket = comfy.openSocket(this.clientId, (type, data) => this.#on(type, data), (url, id) => this.#onPreview(url, id), (up) => (this.linked = up));
      void this.refresh();
    }
    return () => {
      if (--this.#users > 0) return;
      this.#socket?.close();
      this.#socket = null;
    };
  }

  async refresh(): Promise<void> {
    try {
      const [q, h] = await Promise.all([comfy.queue(), comfy.history(HISTORY)]);
      this.pending = [
        ...q.queue_running.map((x) => ({ id: x[1], running: true, prompt: x[2] })),
        ...[...q.queue_pending].sort((a, b) => a[0] - b[0]).map((x) => ({ id: x[1], running: false, prompt: x[2] })),
      ];
      this.made = Object.entries(h).map(([id, e]) => madeOf(id, e)).reverse();
      this.remaining = this.pending.length;
    } catch (e) {
      app.say(e instanceof Error ? e.message : String(e), 'error');
    }
  }

  /** True when it was taken. */
  async submit(prompt: ApiGraph, workflow: unknown): Promise<boolean> {
    this.errors.clear();
    this.problem = '';
    const reply = await comfy.queuePrompt(prompt, this.clientId, workflow).catch((e: unknown) => ({ error: { type: 'network', message: String(e) } }) as comfy.PromptFailure);
    for (const [id, n] of Object.entries(reply.node_errors ?? {})) {
      this.errors.set(id, n.errors.map((e) => [e.message, e.details || e.extra_info?.input_name].filter(Boolean).join(': ')).join('\n'));
    }
    if ('prompt_id' in reply) {
      this.remaining++;
      void this.refresh();
      return true;
    }
    this.problem = [reply.error?.message, reply.error?.details].filter(Boolean).join(': ') || t('The workflow was refused.');
    return false;
  }

  async stop(): Promise<void> {
    await app.attempt(() => comfy.interrupt());
  }
  async drop(id: string): Promise<void> {
    await app.attempt(() => comfy.deletePending([id]));
    await this.refresh();
  }
  async forget(id: string): Promise<void> {
    await app.attempt(() => comfy.deleteHistory([id]));
    this.made = this.made.filter((m) => m.id !== id);
  }

  #onPreview(url: string, id: string | null): void {
    const node = id ?? this.node;
    if (!node) return URL.revokeObjectURL(url);
    const old = this.previews.get(node);
    if (old) URL.revokeObjectURL(old);
    this.previews.set(node, url);
  }

  #reset(): void {
    for (const url of this.previews.values()) URL.revokeObjectURL(url);
    this.previews.clear();
    this.progress.clear();
    this.errors.clear();
    this.problem = '';
  }

  #on(type: string, d: Record<string, unknown>): void {
    switch (type) {
      case 'status':
        this.remaining = ((d.status as { exec_info?: { queue_remaining?: number } } | undefined)?.exec_info?.queue_remaining) ?? 0;
        break;
      case 'execution_start':
        this.#reset();
        this.promptId = String(d.prompt_id);
        void this.refresh();
        break;
      case 'executing':
        this.node = d.node === null || d.node === undefined ? null : String(d.display_node ?? d.node);
        if (this.node === null) this.#ended();
        break;
      case 'progress_state':
        for (const [id, n] of Object.entries((d.nodes ?? {}) as Record<string, { value: number; max: number; state: string }>)) this.progress.set(id, n);
        break;
      case 'progress':
        if (d.node) this.progress.set(String(d.node), { value: Number(d.value), max: Number(d.max), state: 'running' });
        break;
      case 'executed': {
        const out = d.output as { images?: comfy.ImageRef[]; text?: string[] } | null;
        const id = String(d.display_node ?? d.node);
        if (out?.images) this.outputs.set(id, out.images);
        if (out?.text) this.texts.set(id, out.text.join('\n'));
        break;
      }
      case 'execution_error':
        this.errors.set(String(d.node_id), String(d.exception_message ?? ''));
        this.problem = String(d.exception_message ?? t('The job failed.'));
        this.#ended();
        break;
      case 'execution_interrupted':
        this.#ended();
        break;
    }
  }

  #ended(): void {
    this.promptId = null;
    this.node = null;
    this.progress.clear();
    void this.refresh();
  }
}

export const pictures = new PictureQueue();
