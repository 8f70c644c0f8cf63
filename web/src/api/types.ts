/** What the web listener sends (docs/web-api.md). */
export type Role = 'admin' | 'user' | 'pending';

export interface User {
  id: string;
  email: string;
  name: string;
  role: Role;
  created_at: number;
  last_active_at: number;
}

export interface Config {
  name: string;
  version: string;
  onboarding?: boolean;
  default_models?: string;
  features: { auth: boolean; enable_signup: boolean; enable_image_generation?: boolean };
}

export interface Model {
  id: string;
  name: string;
  size?: number;
  loaded?: boolean;
  pinned?: boolean;
  preset?: boolean;
  base_model_id?: string | null;
  capabilities?: string[];
  /** Why it cannot be used. */
  error?: string;
  details?: { family?: string; parameter_size?: string; quantization_level?: string };
  info?: { meta?: PresetMeta; params?: Params };
}

export interface PresetMeta {
  description?: string;
  suggestions?: string[];
  knowledge?: string[];
}

export interface Preset {
  id: string;
  name: string;
  base_model_id: string;
  params: Params & { system?: string };
  meta: PresetMeta;
}

export type Params = Record<string, number | string | boolean | string[] | null | undefined>;

export interface Pull {
  id: string;
  model: string;
  status: string;
  completed: number;
  total: number;
  done: boolean;
  error?: string | null;
}

export interface ChatInfo {
  id: string;
  title: string;
  model?: string | null;
  updated_at: number;
  created_at: number;
  pinned: boolean;
  archived: boolean;
  folder_id?: string | null;
  running?: boolean;
  cursor?: string;
  current_id?: string | null;
}

export interface SearchHit extends ChatInfo {
  snippet?: string;
  message_id?: string | null;
}

export type State = 'queued' | 'loading' | 'reading' | 'thinking' | 'writing' | 'done' | 'stopped' | 'failed' | 'interrupted';

export interface FileRef {
  id: string;
  name: string;
  mime?: string;
  size?: number;
  kind?: 'image' | 'document';
}

export interface Source {
  n: number;
  file_id?: string;
  name: string;
  text: string;
  score?: number;
}

export interface Usage {
  prompt_tokens?: number;
  cached_tokens?: number;
  completion_tokens?: number;
  load_ms?: number;
  prompt_ms?: number;
  eval_ms?: number;
  total_ms?: number;
  tokens_per_s?: number;
  reason?: string;
}

export interface PictureFile {
  id: string;
  url: string;
  width?: number;
  height?: number;
  mime?: string;
}

export interface Picture {
  prompt_id?: string;
  workflow_id?: string;
  inputs?: Record<string, string | number | bigint | null>;
  files?: PictureFile[];
  error?: string | null;
}

export interface Message {
  id: string;
  parent_id: string | null;
  role: 'user' | 'assistant' | 'system';
  content: string | null;
  thinking?: string | null;
  model?: string | null;
  created_at: number;
  state: State;
  error?: string | null;
  files?: FileRef[];
  sources?: Source[];
  usage?: Usage | null;
  rating?: number;
  thinking_ms?: number | null;
  knowledge?: { id: string; name: string }[]; // a question's
  place?: number; // while it waits: how many are before it
  picture?: Picture | null;
}

export interface ThreadData extends ChatInfo {
  system?: string | null;
  params?: Params | null;
  meta?: Record<string, unknown> | null;
  current_id: string | null;
  event_id: string;
  messages: Message[];
}

export interface FileInfo extends FileRef {
  state?: 'pending' | 'completed' | 'failed';
  error?: string | null;
  n_chunks?: number;
  created_at?: number;
}

export interface Knowledge {
  id: string;
  name: string;
  description: string;
  updated_at: number;
  n_files?: number;
  files?: FileInfo[];
}

export interface Folder {
  id: string;
  name: string;
  parent_id?: string | null;
  is_expanded?: boolean;
}

export interface Prompt {
  id: string;
  command: string;
  title?: string;
  name?: string;
  content: string;
}

export interface PictureWorkflow {
  id: string;
  name: string;
  kind: 'text' | 'image';
  inputs: string[];
  defaults: Record<string, string | number | null>;
  checkpoints?: string[];
  samplers?: string[];
  schedulers?: string[];
}

export interface Session {
  id: string;
  current: boolean;
  created_at: number;
  seen_at: number;
  expires_at: number;
  address: string;
  agent: string;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  scopes: string[];
  created_at: number;
  used_at?: number | null;
  expires_at?: number | null;
  key?: string;
}

export interface Machine {
  at_ms: number;
  uptime_s: number;
  memory: Record<'budget' | 'used' | 'weights' | 'kv' | 'plan' | 'staging' | 'rss', number>;
  models: {
    name: string;
    kind: string;
    size?: number;
    device_bytes?: number;
    n_ctx?: number;
    running?: number;
    expires_at?: number | null;
    pinned?: boolean;
  }[];
  queue: { running: number; waiting: number; max?: number; pictures: number };
  shares: Record<'chat' | 'embed' | 'image' | 'background', number>;
  busy: number;
  speed: { tokens_per_s: number; prompt_tokens_per_s: number; steps_per_s: number };
  totals: { tokens: number; prompt_tokens: number; steps: number; pictures: number };
  device?: { name: string; threads: number };
  version?: string;
}

export interface AdminConfig {
  ENABLE_SIGNUP: boolean;
  DEFAULT_USER_ROLE: string;
  DEFAULT_MODELS: string;
  TITLE_GENERATION: boolean;
  RAG_EMBEDDING_MODEL: string;
  RAG_TOP_K: number;
  CHUNK_SIZE: number;
  CHUNK_OVERLAP: number;
}
