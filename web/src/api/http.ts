/** The only place that calls fetch: errors become ApiError, a lost session is told to one listener. */
import { parseExact, stringifyExact } from '../graph/exact';

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

let onSignedOut: () => void = () => {};
export function whenSignedOut(f: () => void): void {
  onSignedOut = f;
}

function reasonOf(body: unknown, status: number): string {
  if (typeof body === 'object' && body !== null) {
    for (const key of ['detail', 'error', 'message']) {
      const value: unknown = (body as Record<string, unknown>)[key];
      if (typeof value === 'string' && value) return value;
      if (typeof value === 'object' && value !== null) return reasonOf(value, status);
    }
  }
  return `HTTP ${status}`;
}

async function failure(reply: Response): Promise<ApiError> {
  const text = await reply.text();
  let reason = text.length < 300 && !text.startsWith('<') ? text : '';
  try {
    reason = reasonOf(JSON.parse(text), reply.status);
  } catch {
    /* not JSON: the text itself is the reason */
  }
  return new ApiError(reply.status, reason || `HTTP ${reply.status}`);
}

export async function send(path: string, init?: RequestInit): Promise<Response> {
  let reply: Response;
  try {
    reply = await fetch(path, { credentials: 'same-origin', ...init });
  } catch (e) {
    if (e instanceof DOMException && e.name === 'AbortError') throw e;
    throw new ApiError(0, 'The server does not answer.');
  }
  if (reply.status === 401 && !path.startsWith('/api/v1/auths')) onSignedOut();
  if (!reply.ok) throw await failure(reply);
  return reply;
}

async function json<T>(reply: Response): Promise<T> {
  const text = await reply.text();
  return (text ? JSON.parse(text) : null) as T;
}

function withBody(method: string, body: unknown): RequestInit {
  return { method, headers: { 'Content-Type': 'application/json' }, body: stringifyExact(body ?? {}) };
}

export const get = async <T>(path: string): Promise<T> => json<T>(await send(path));
/** For what may hold seeds: whole numbers beyond 2^53 come as bigint. */
export const getExact = async <T>(path: string): Promise<T> => parseExact(await (await send(path)).text()) as T;
export const post = async <T>(path: string, body?: unknown): Promise<T> => json<T>(await send(path, withBody('POST', body)));
export const del = async <T>(path: string): Promise<T> => json<T>(await send(path, { method: 'DELETE' }));
export const delWith = async <T>(path: string, body: unknown): Promise<T> => json<T>(await send(path, withBody('DELETE', body)));
export const postForm = async <T>(path: string, form: FormData): Promise<T> =>
  json<T>(await send(path, { method: 'POST', body: form }));
export const postRaw = async <T>(path: string, text: Blob): Promise<T> =>
  json<T>(await send(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: text }));

/** An upload with progress, which fetch does not tell. */
export function upload<T>(path: string, form: FormData, onProgress: (share: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest();
    x.open('POST', path);
    x.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total);
    x.onerror = () => reject(new ApiError(0, 'The server does not answer.'));
    x.onload = () => {
      let body: unknown = null;
      try {
        body = JSON.parse(x.responseText);
      } catch {
        /* an error page */
      }
      if (x.status >= 200 && x.status < 300) resolve(body as T);
      else reject(new ApiError(x.status, reasonOf(body, x.status)));
    };
    x.send(form);
  });
}

export function messageOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
