/** The picture API below /comfy, and its WebSocket. */
import type { ApiGraph } from '../graph/api-format';
import { stringifyExact } from '../graph/exact';
import { getExact, post, postForm } from './http';

const BASE = '/comfy';

export interface ImageRef {
  filename: string;
  subfolder: string;
  type: string;
}
export interface HistoryEntry {
  prompt: [number, string, ApiGraph, { extra_pnginfo?: { workflow?: unknown } }, string[]];
  outputs: Record<string, { images?: ImageRef[]; text?: string[] }>;
  status: { status_str: string; completed: boolean; messages: [string, Record<string, unknown>][] };
}
export interface QueueState {
  queue_running: HistoryEntry['prompt'][];
  queue_pending: HistoryEntry['prompt'][];
}
export interface NodeErrors {
  [id: string]: { class_type: string; errors: { type: string; message: string; details: string; extra_info?: { input_name?: string } }[] };
}
export interface PromptFailure {
  error?: { type: string; message: string; details?: string; extra_info?: Record<string, unknown> };
  node_errors?: NodeErrors;
}
export type PromptReply = { prompt_id: string; number: number; node_errors: NodeErrors };

export const objectInfo = (): Promise<Record<string, unknown>> => getExact(`${BASE}/object_info`);
export const queue = (): Promise<QueueState> => getExact(`${BASE}/queue`);
export const history = (max: number): Promise<Record<string, HistoryEntry>> => getExact(`${BASE}/history?max_items=${max}`);
export const historyOf = (id: string): Promise<Record<string, HistoryEntry>> => getExact(`${BASE}/history/${encodeURIComponent(id)}`);
export const interrupt = (): Promise<unknown> => post(`${BASE}/interrupt`);
export const deletePending = (ids: string[]): Promise<unknown> => post(`${BASE}/queue`, { delete: ids });
export const clearPending = (): Promise<unknown> => post(`${BASE}/queue`, { clear: true });
export const deleteHistory = (ids: string[]): Promise<unknown> => post(`${BASE}/history`, { delete: ids });

export function viewUrl(i: ImageRef, thumbnail = false): string {
  const q = new URLSearchParams({ filename: i.filename, subfolder: i.subfolder ?? '', type: i.type ?? 'output' });
  if (thumbnail) q.set('preview', 'webp;80');
  return `${BASE}/view?${q.toString()}`;
}

/** `name`, `sub/name` or `name [output]`, as image inputs hold it. */
export function refOf(value: string): ImageRef {
  const m = /^(.*?)(?: \[(input|output|temp)\])?$/.exec(value);
  const path = m?.[1] ?? value;
  const cut = path.lastIndexOf('/');
  return { filename: path.slice(cut + 1), subfolder: cut < 0 ? '' : path.slice(0, cut), type: m?.[2] ?? 'input' };
}

export async function uploadImage(file: File, name = file.name): Promise<string> {
  const form = new FormData();
  form.append('image', file, name);
  const r = await postForm<{ name: string; subfolder: string }>(`${BASE}/upload/image`, form);
  return r.subfolder ? `${r.subfolder}/${r.name}` : r.name;
}

export async function uploadMask(mask: Blob, original: ImageRef): Promise<string> {
  const form = new FormData();
  form.append('image', mask, `mask-${Date.now()}.png`);
  form.append('original_ref', JSON.stringify(original));
  form.append('subfolder', 'masks');
  const r = await postForm<{ name: string; subfolder: string }>(`${BASE}/upload/mask`, form);
  return r.subfolder ? `${r.subfolder}/${r.name}` : r.name;
}

/** Queues a graph. What the server refuses comes back as a value, not as an exception. */
export async function queuePrompt(prompt: ApiGraph, clientId: string, workflow: unknown): Promise<PromptReply | PromptFailure> {
  const reply = await fetch(`${BASE}/prompt`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: stringifyExact({ prompt, client_id: clientId, extra_data: { extra_pnginfo: { workflow }, preview_method: 'auto' } }),
  });
  const text = await reply.text();
  try {
    const body = JSON.parse(text) as (PromptReply | PromptFailure) & { detail?: string };
    return body.detail ? { error: { type: 'refused', message: body.detail } } : body;
  } catch {
    return { error: { type: 'refused', message: text.slice(0, 300) || `HTTP ${reply.status}` } };
  }
}

export interface ComfySocket {
  close(): void;
}

/** Messages and preview pictures; opens again when the connection is lost. */
export function openSocket(
  clientId: string,
  onMessage: (type: string, data: Record<string, unknown>) => void,
  onPreview: (url: string, nodeId: string | null) => void,
  onLink: (up: boolean) => void,
): ComfySocket {
  let socket: WebSocket;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  function binary(buffer: ArrayBuffer): void {
    const view = new DataView(buffer);
    const event = view.getUint32(0);
    if (event === 1) onPreview(URL.createObjectURL(new Blob([buffer.slice(8)], { type: view.getUint32(4) === 2 ? 'image/png' : 'image/jpeg' })), null);
    if (event !== 4) return;
    const n = view.getUint32(4);
    const meta = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, n))) as { node_id?: string; display_node_id?: string; image_type?: string };
    onPreview(URL.createObjectURL(new Blob([buffer.slice(8 + n)], { type: meta.image_type ?? 'image/jpeg' })), meta.display_node_id ?? meta.node_id ?? null);
  }
  function open(): void {
    socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${BASE}/ws?clientId=${encodeURIComponent(clientId)}`);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      onLink(true);
      socket.send(JSON.stringify({ type: 'feature_flags', data: { supports_preview_metadata: true } }));
    };
    socket.onmessage = (e: MessageEvent<string | ArrayBuffer>) => {
      if (typeof e.data !== 'string') return binary(e.data);
      const m = JSON.parse(e.data) as { type: string; data: Record<string, unknown> };
      onMessage(m.type, m.data ?? {});
    };
    socket.onclose = () => {
      onLink(false);
      if (!closed) timer = setTimeout(open, 1500);
    };
  }
  open();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      socket.close();
    },
  };
}
