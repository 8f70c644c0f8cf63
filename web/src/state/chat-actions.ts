/** What can be done with a chat of the sidebar. */
import * as api from '../api/chats';
import type { ChatInfo, Folder } from '../api/types';
import { askText, confirmed } from '../ui/Ask.svelte';
import type { MenuItem, MenuList } from '../ui/Menu.svelte';
import { app } from './app.svelte';
import { t } from './i18n.svelte';
import { go, route } from './router.svelte';
import { sidebar } from './sidebar.svelte';

/** Lets the browser save what an address answers. */
export function save(url: string, name?: string): void {
  const a = document.createElement('a');
  a.href = url;
  a.download = name ?? '';
  a.click();
}

async function change(chat: ChatInfo, patch: Partial<ChatInfo>): Promise<void> {
  const ok = await app.attempt(() => api.changeChat(chat.id, patch));
  if (ok) sidebar.put({ ...chat, ...patch });
}

export function chatMenu(chat: ChatInfo): MenuList {
  return [
    { label: t('Rename'), icon: 'edit', run: () => void rename(chat) },
    { label: chat.pinned ? t('Unpin') : t('Pin'), icon: 'pin', run: () => void change(chat, { pinned: !chat.pinned }) },
    { label: t('Move to folder'), icon: 'folder', items: () => folderChoices(chat) },
    { label: t('Duplicate'), icon: 'copy', run: () => void clone(chat) },
    { label: t('Share …'), icon: 'expand', run: () => void (app.sharing = chat) },
    { label: t('Archive'), icon: 'archive', run: () => void archive(chat) },
    null,
    { label: t('Export as Markdown'), icon: 'download', run: () => save(api.exportUrl(chat.id, 'md')) },
    { label: t('Export as JSON'), icon: 'download', run: () => save(api.exportUrl(chat.id, 'json')) },
    null,
    { label: t('Delete'), icon: 'trash', danger: true, run: () => void remove(chat) },
  ];
}

async function rename(chat: ChatInfo): Promise<void> {
  const title = await askText({ title: t('Rename chat'), label: t('Title'), value: chat.title, yes: t('Rename') });
  if (title) await change(chat, { title });
}

async function clone(chat: ChatInfo): Promise<void> {
  await app.attempt(async () => {
    const copy = await api.cloneChat(chat.id);
    sidebar.put(copy);
    go(`/c/${copy.id}`);
  });
}

async function archive(chat: ChatInfo): Promise<void> {
  await change(chat, { archived: true });
  sidebar.drop(chat.id);
  app.say(t('Archived. Find it again in the settings, under Data.'));
}

export async function remove(chat: ChatInfo): Promise<void> {
  const yes = await confirmed({ title: t('Delete this chat?'), text: `“${chat.title}” ${t('and all its messages will be gone.')}`, yes: t('Delete'), danger: true });
  if (yes && (await app.attempt(() => api.deleteChat(chat.id)))) sidebar.drop(chat.id);
}

/** Every folder, the way out of one, and a new one. */
function folderChoices(chat: ChatInfo): MenuList {
  const to = (id: string | null): (() => void) => () => void change(chat, { folder_id: id });
  const folders = sidebar.folders.map((f): MenuItem => ({ label: f.name, icon: 'folder', checked: f.id === chat.folder_id, run: to(f.id) }));
  return [
    ...folders,
    ...(chat.folder_id ? [{ label: t('No folder'), icon: 'x' as const, checked: false, run: to(null) }] : []),
    ...(folders.length ? [null] : []),
    { label: t('New folder …'), icon: 'plus', run: () => void makeFolder().then((f) => f && change(chat, { folder_id: f.id })) },
  ];
}

export async function drop(chatId: string, folder: Folder | null): Promise<void> {
  const chat = sidebar.chats.find((c) => c.id === chatId);
  if (chat) await change(chat, { folder_id: folder?.id ?? null });
}

export function folderMenu(folder: Folder): MenuList {
  return [
    { label: t('New chat here'), icon: 'plus', run: () => go(`/?folder=${folder.id}`) },
    { label: t('Rename'), icon: 'edit', run: () => void renameFolder(folder) },
    ...(sidebar.folders.length > 1 ? [{ label: t('Move to folder'), icon: 'folder' as const, items: () => folderPlaces(folder) }] : []),
    null,
    { label: t('Delete'), icon: 'trash', danger: true, run: () => void removeFolder(folder) },
  ];
}

/** Where a folder may lie: not in itself, nor in what it holds. */
function folderPlaces(folder: Folder): MenuList {
  const to = (id: string | null): (() => void) => () => void moveFolder(folder, id);
  const others = sidebar.folders.filter((f) => !sidebar.within(f, folder.id));
  return [
    ...others.map((f): MenuItem => ({ label: f.name, icon: 'folder', checked: f.id === folder.parent_id, run: to(f.id) })),
    ...(folder.parent_id ? [{ label: t('No folder'), icon: 'x' as const, checked: false, run: to(null) }] : []),
  ];
}

async function moveFolder(folder: Folder, parent_id: string | null): Promise<void> {
  if (await app.attempt(() => api.moveFolder(folder.id, parent_id))) sidebar.folders = sidebar.folders.map((f) => (f.id === folder.id ? { ...f, parent_id } : f));
}

async function renameFolder(folder: Folder): Promise<void> {
  const name = await askText({ title: t('Rename folder'), label: t('Folder'), value: folder.name, yes: t('Rename') });
  if (!name) return;
  await app.attempt(() => api.renameFolder(folder.id, name));
  sidebar.folders = sidebar.folders.map((f) => (f.id === folder.id ? { ...f, name } : f));
}

async function removeFolder(folder: Folder): Promise<void> {
  const yes = await confirmed({ title: t('Delete this folder?'), text: t('Its chats stay, outside of it.'), yes: t('Delete'), danger: true });
  if (!yes || !(await app.attempt(() => api.deleteFolder(folder.id)))) return;
  sidebar.folders = sidebar.folders.filter((f) => f.id !== folder.id);
  await sidebar.load();
  if (route.query.get('folder') === folder.id) go('/', true);
}

export async function makeFolder(): Promise<Folder | null> {
  const name = await askText({ title: t('New folder'), label: t('Folder'), yes: t('Create') });
  if (!name) return null;
  let made: Folder | null = null;
  await app.attempt(async () => {
    const f = await api.newFolder(name);
    if (!sidebar.folders.some((x) => x.id === f.id)) sidebar.folders = [...sidebar.folders, f];
    made = f;
  });
  return made;
}
