/** Size, steps and guidance that suit the checkpoint that is there, as the server knows them. */
import { pictureWorkflows } from '../api/chats';
import type { SimpleForm } from '../graph/simple';

const KEYS = ['width', 'height', 'steps', 'cfg'] as const;

export async function suiting(): Promise<Partial<SimpleForm>> {
  const defaults = (await pictureWorkflows()).find((w) => w.kind === 'text')?.defaults ?? {};
  const out: Partial<SimpleForm> = {};
  for (const key of KEYS) if (typeof defaults[key] === 'number') out[key] = defaults[key];
  if (typeof defaults.checkpoint === 'string') out.checkpoint = defaults.checkpoint;
  return out;
}
