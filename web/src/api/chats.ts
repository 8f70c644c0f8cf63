import { del, delWith, get, getExact, post, postRaw } from './http';
import type { ChatInfo, Folder, Message, Params, Picture, PictureWorkflow, SearchHit, ThreadData } from './types';

const V1 = '/api/v1';
const chat = (id: string): string => `${V1}/chats/${encodeURIComponent(id)}`;

export const chatPage = (before?: string): Promise<ChatInfo[]> =>
  get(`${V1}/chats/${before ? `?before=${encodeURIComponent(before)}` : '?before='}`);
export const pinnedChats = (): Promise<ChatInfo[]> => get(`${V1}/chats/pinned`);
export const archivedChats = (): Promise<ChatInfo[]> => get(`${V1}/chats/archived`);
export const searchChats = (text: string): Promise<SearchHit[]> => get(`${V1}/chats/search?text=${encodeURIComponent(text)}`);
export interface Tag {
  id: string;
  name: string;
}
export const allTags = (): Promise<Tag[]> => get(`${V1}/chats/all/tags`);
export const tagsOf = (id: string): Promise<Tag[]> => get(`${chat(id)}/tags`);
export const addTag = (id: string, name: string): Promise<Tag[]> => post(`${chat(id)}/tags`, { name });
export const removeTag = (id: string, name: string): Promise<Tag[]> => delWith(`${chat(id)}/tags`, { name });
export const newChat = (body: { model?: string; system?: string; params?: Params; folder_id?: string | null }): Promise<ChatInfo> =>
  post(`${V1}/chats/new`, body);
export const thread = (id: string): Promise<ThreadData> => getExact(`${chat(id)}/thread?light=1`);
export const oneMessage = (id: string, message: string): Promise<Message> => getExact(`${chat(id)}/messages/${message}`);
export const changeChat = (id: string, body: Record<string, unknown>): Promise<unknown> => post(chat(id), body);
export const deleteChat = (id: string): Promise<unknown> => del(chat(id));
export const deleteAllChats = (): Promise<unknown> => del(`${V1}/chats/`);
export const archiveAll = (): Promise<unknown> => post(`${V1}/chats/archive/all`);
export const cloneChat = (id: string): Promise<ChatInfo> => post(`${chat(id)}/clone`);
export const exportUrl = (id: string, format: 'json' | 'md'): string => `${chat(id)}/export?format=${format}`;
export const exportAllUrl = `${V1}/chats/export?format=json`;
export const importChats = (file: Blob): Promise<{ imported: number; skipped: number; ids: string[] }> =>
  postRaw(`${V1}/chats/import`, file);

export interface Shared {
  id: string;
  title: string;
  shared_at?: number;
  chat: { title: string; history: { currentId: string | null; messages: Record<string, Message> } };
}
export const shareState = (id: string): Promise<{ share_id: string; shared_at: number }> => get(`${chat(id)}/share`);
export const share = (id: string): Promise<{ share_id: string; shared_at: number }> => post(`${chat(id)}/share`);
export const unshare = (id: string): Promise<unknown> => del(`${chat(id)}/share`);
export const shared = (id: string): Promise<Shared> => getExact(`${V1}/chats/share/${encodeURIComponent(id)}`);
export const sharedFileUrl = (id: string, file: string): string =>
  `${V1}/chats/share/${encodeURIComponent(id)}/files/${encodeURIComponent(file)}/content`;

export interface NewMessage {
  content: string;
  parent_id?: string | null;
  model?: string;
  params?: Params;
  think?: boolean;
  files?: string[];
  knowledge?: string[];
}
type Pair = { user: Message; assistant: Message };
export const sendMessage = (id: string, body: NewMessage): Promise<Pair> => post(`${chat(id)}/messages`, body);
export const regenerate = (id: string, message: string, body: { model?: string; instruction?: string }): Promise<{ assistant: Message }> =>
  post(`${chat(id)}/messages/${message}/regenerate`, body);
export const continueMessage = (id: string, message: string): Promise<{ assistant: Message }> =>
  post(`${chat(id)}/messages/${message}/continue`);
export const stopMessage = (id: string, message: string): Promise<Message> => post(`${chat(id)}/messages/${message}/stop`);
export const rateMessage = (id: string, message: string, rating: number): Promise<Message> =>
  post(`${chat(id)}/messages/${message}/rate`, { rating });
export const editMessage = (id: string, message: string, content: string): Promise<Message> =>
  post(`${chat(id)}/messages/${message}`, { content });
export const deleteMessage = (id: string, message: string): Promise<{ current_id: string | null }> =>
  del(`${chat(id)}/messages/${message}`);
export const chatEventsUrl = (id: string, after: string): string => `${chat(id)}/events?after=${encodeURIComponent(after)}`;

export const pictureWorkflows = (): Promise<PictureWorkflow[]> => get(`${V1}/pictures/workflows`);
export const makePicture = (
  id: string,
  body: { prompt: string; parent_id?: string | null; image?: string; workflow_id?: string; graph?: unknown } & Picture['inputs'],
): Promise<Pair> => post(`${chat(id)}/pictures`, body);
export const messageWorkflow = (id: string, message: string): Promise<unknown> => getExact(`${chat(id)}/messages/${message}/workflow`);

export const folders = (): Promise<Folder[]> => get(`${V1}/folders/`);
export const newFolder = (name: string): Promise<Folder> => post(`${V1}/folders/`, { name });
export const renameFolder = (id: string, name: string): Promise<Folder> => post(`${V1}/folders/${id}/update`, { name });
export const moveFolder = (id: string, parent_id: string | null): Promise<Folder> => post(`${V1}/folders/${id}/update/parent`, { parent_id });
export const deleteFolder = (id: string): Promise<unknown> => del(`${V1}/folders/${id}`);
export const expandFolder = (id: string, is_expanded: boolean): Promise<Folder> =>
  post(`${V1}/folders/${id}/update/expanded`, { is_expanded });
