import { packLong, unpackLong } from '../graph/exact';
import { del, get, getExact, post, postForm, upload } from './http';
import type {
  AdminConfig, ApiKey, Config, FileInfo, Knowledge, Machine, Model, Preset, Prompt, Pull, Session, Source, User,
} from './types';

const V1 = '/api/v1';

export const config = (): Promise<Config> => get('/api/config');
export const me = (): Promise<User> => get(`${V1}/auths/`);
export const signIn = (email: string, password: string): Promise<User> => post(`${V1}/auths/signin`, { email, password });
export const signUp = (name: string, email: string, password: string): Promise<User> =>
  post(`${V1}/auths/signup`, { name, email, password });
export const signOut = (): Promise<unknown> => post(`${V1}/auths/signout`);
export const setName = (name: string): Promise<User> => post(`${V1}/auths/update/profile`, { name });
export const setPassword = (password: string, new_password: string): Promise<unknown> =>
  post(`${V1}/auths/update/password`, { password, new_password });
export const sessions = (): Promise<Session[]> => get(`${V1}/auths/sessions`);
export const endSession = (id: string): Promise<unknown> => del(`${V1}/auths/sessions/${id}`);
export const endOtherSessions = (): Promise<unknown> => del(`${V1}/auths/sessions`);
export const keys = (): Promise<ApiKey[]> => get(`${V1}/auths/keys`);
export const newKey = (name: string, scopes: string[], expires_in: number | null): Promise<ApiKey> =>
  post(`${V1}/auths/keys`, { name, scopes, expires_in });
export const deleteKey = (id: string): Promise<unknown> => del(`${V1}/auths/keys/${id}`);

export const userSettings = (): Promise<Record<string, unknown>> => get(`${V1}/users/user/settings`);
export const setUserSettings = (patch: Record<string, unknown>): Promise<unknown> => post(`${V1}/users/user/settings`, patch);
export const users = (query: string, page: number): Promise<{ users: User[]; total: number }> =>
  get(`${V1}/users/?query=${encodeURIComponent(query)}&page=${page}`);
export const addUser = (body: { name: string; email: string; password: string; role: string }): Promise<User> =>
  post(`${V1}/auths/add`, body);
export const updateUser = (id: string, body: Partial<User> & { password?: string }): Promise<User> =>
  post(`${V1}/users/${id}/update`, body);
export const deleteUser = (id: string): Promise<unknown> => del(`${V1}/users/${id}`);
export const adminConfig = (): Promise<AdminConfig> => get(`${V1}/auths/admin/config`);
export const setAdminConfig = (body: Partial<AdminConfig>): Promise<AdminConfig> => post(`${V1}/auths/admin/config`, body);

export const models = async (): Promise<Model[]> => (await get<{ data: Model[] }>('/api/models')).data;
export const unloadModel = (model: string): Promise<unknown> => post('/api/models/unload', { model });
export const pinModel = (model: string, pinned: boolean): Promise<unknown> => post('/api/models/pin', { model, pinned });
export const pulls = (): Promise<Pull[]> => get(`${V1}/pulls`);
export const startPull = (model: string): Promise<Pull> => post(`${V1}/pulls`, { model });
export const cancelPull = (id: string): Promise<unknown> => del(`${V1}/pulls/${id}`);

export const presets = (): Promise<Preset[]> => get(`${V1}/models/list`);
export const savePreset = (p: Omit<Preset, 'id'> & { id?: string }): Promise<Preset> =>
  p.id ? post(`${V1}/models/model/update?id=${encodeURIComponent(p.id)}`, p) : post(`${V1}/models/create`, p);
export const deletePreset = (id: string): Promise<unknown> => del(`${V1}/models/model/delete?id=${encodeURIComponent(id)}`);

export const prompts = (): Promise<Prompt[]> => get(`${V1}/prompts/`);
export const savePrompt = (p: Omit<Prompt, 'id'> & { id?: string }): Promise<Prompt> =>
  p.id ? post(`${V1}/prompts/${p.id}/update`, p) : post(`${V1}/prompts/create`, p);
export const deletePrompt = (id: string): Promise<unknown> => del(`${V1}/prompts/${id}/delete`);

export function uploadFile(file: File, onProgress: (share: number) => void = () => {}): Promise<FileInfo> {
  const form = new FormData();
  form.append('file', file, file.name);
  return upload(`${V1}/files/`, form, onProgress);
}
export const files = (): Promise<FileInfo[]> => get(`${V1}/files/`);
export const file = (id: string): Promise<FileInfo> => get(`${V1}/files/${id}`);
export const fileUrl = (id: string): string => `${V1}/files/${id}/content`;
export const deleteFile = (id: string): Promise<unknown> => del(`${V1}/files/${id}`);

export const knowledgeList = (): Promise<Knowledge[]> => get(`${V1}/knowledge/`);
export const knowledge = (id: string): Promise<Knowledge> => get(`${V1}/knowledge/${id}`);
export const newKnowledge = (name: string, description: string): Promise<Knowledge> =>
  post(`${V1}/knowledge/create`, { name, description });
export const updateKnowledge = (id: string, name: string, description: string): Promise<Knowledge> =>
  post(`${V1}/knowledge/${id}/update`, { name, description });
export const deleteKnowledge = (id: string): Promise<unknown> => del(`${V1}/knowledge/${id}/delete`);
export const addToKnowledge = (id: string, file_id: string): Promise<unknown> =>
  post(`${V1}/knowledge/${id}/file/add`, { file_id });
export const removeFromKnowledge = (id: string, file_id: string): Promise<unknown> =>
  post(`${V1}/knowledge/${id}/file/remove`, { file_id });
export const searchKnowledge = (query: string, ids: string[]): Promise<{ sources: Source[]; mode: string }> =>
  post(`${V1}/knowledge/search`, { query, knowledge: ids, k: 6 });

/** All of the asker's files again: with the embedding model and the passages' size of now. */
export const reindexKnowledge = (): Promise<{ files: number }> => post(`${V1}/knowledge/reindex`);

export const machine = (): Promise<Machine> => get(`${V1}/machine`);
export const machineEventsUrl = `${V1}/machine/events`;
export const userEventsUrl = `${V1}/events`;
export const logs = (after: number): Promise<{ lines: { n: number; at: number; level: string; text: string }[] }> =>
  get(`${V1}/logs?after=${after}`);

/** A workflow of the studio as the server keeps it; lists leave `data` out. */
export interface SavedWorkflow {
  id: string;
  name: string;
  updated_at: number;
  data?: unknown;
}
export const workflows = (): Promise<SavedWorkflow[]> => get(`${V1}/workflows/`);
export async function workflow(id: string): Promise<SavedWorkflow> {
  const saved = await getExact<SavedWorkflow>(`${V1}/workflows/${id}`);
  return { ...saved, data: unpackLong(saved.data) };
}
export const saveWorkflow = (name: string, data: unknown, id?: string): Promise<SavedWorkflow> =>
  post(id ? `${V1}/workflows/${id}` : `${V1}/workflows/`, { name, data: packLong(data) });
export const deleteWorkflow = (id: string): Promise<unknown> => del(`${V1}/workflows/${id}`);
export { postForm };
