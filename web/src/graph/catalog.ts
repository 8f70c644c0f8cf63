/** /object_info as the editor uses it: every input is a socket or a widget with its limits. */
export type Value = string | number | bigint | boolean | null | Value[] | { [key: string]: Value };

export interface InputDef {
  name: string;
  label: string;
  type: string; // INT FLOAT STRING BOOLEAN COMBO, or what a link carries
  widget: boolean;
  optional: boolean;
  options: string[];
  default: Value;
  min?: number | bigint;
  max?: number | bigint;
  step: number;
  multiline: boolean;
  upload: boolean; // a picture can be uploaded for it
  seed: boolean; // changes by itself after queueing
  tooltip: string;
  placeholder: string;
}

export interface OutputDef {
  name: string;
  type: string;
}

export interface NodeDef {
  name: string;
  title: string;
  category: string;
  description: string;
  inputs: InputDef[];
  outputs: OutputDef[];
  isOutput: boolean;
  search: string;
}

type Spec = [string | string[], Record<string, unknown>?];
interface RawInfo {
  input?: Record<string, Record<string, Spec>>;
  input_order?: Record<string, string[]>;
  output?: (string | string[])[];
  output_name?: string[];
  display_name?: string | null;
  category?: string;
  description?: string | null;
  output_node?: boolean;
  deprecated?: boolean;
  search_aliases?: string[] | null;
}

const WIDGETS = new Set(['INT', 'FLOAT', 'STRING', 'BOOLEAN', 'COMBO']);
const number = (v: unknown): number | undefined => (typeof v === 'number' ? v : undefined);
const limit = (v: unknown): number | bigint | undefined => (typeof v === 'bigint' ? v : number(v));
const text = (v: unknown): string => (typeof v === 'string' ? v : '');

function inputOf(name: string, spec: Spec, optional: boolean): InputDef {
  const o = spec[1] ?? {};
  const list = Array.isArray(spec[0]) ? spec[0] : Array.isArray(o.options) ? (o.options as unknown[]).map(String) : [];
  const type = Array.isArray(spec[0]) ? 'COMBO' : spec[0];
  const fallback: Value = type === 'COMBO' ? (list[0] ?? '') : type === 'STRING' ? '' : type === 'BOOLEAN' ? false : 0;
  return {
    name,
    label: text(o.display_name) || name,
    type,
    widget: WIDGETS.has(type) && o.forceInput !== true && o.rawLink !== true,
    optional,
    options: list,
    default: (o.default as Value | undefined) ?? fallback,
    min: limit(o.min),
    max: limit(o.max),
    step: number(o.step) ?? (type === 'FLOAT' ? 0.01 : 1),
    multiline: o.multiline === true,
    upload: o.image_upload === true,
    seed: type === 'INT' && (o.control_after_generate !== undefined ? o.control_after_generate !== false : name === 'seed' || name === 'noise_seed'),
    tooltip: text(o.tooltip),
    placeholder: text(o.placeholder),
  };
}

function defOf(name: string, raw: RawInfo): NodeDef {
  const inputs: InputDef[] = [];
  for (const group of ['required', 'optional'] as const) {
    const specs = raw.input?.[group] ?? {};
    for (const key of raw.input_order?.[group] ?? Object.keys(specs)) {
      const spec = specs[key];
      if (spec) inputs.push(inputOf(key, spec, group === 'optional'));
    }
  }
  const title = raw.display_name || name;
  const aliases = (raw.search_aliases ?? []).join(' ');
  return {
    name,
    title,
    category: raw.category ?? '',
    description: raw.description ?? '',
    inputs,
    outputs: (raw.output ?? []).map((t, i) => ({ name: raw.output_name?.[i] ?? String(t), type: Array.isArray(t) ? 'COMBO' : t })),
    isOutput: raw.output_node === true,
    search: `${title} ${name} ${raw.category ?? ''} ${aliases}`.toLowerCase(),
  };
}

export type Catalog = Map<string, NodeDef>;

export function catalogOf(info: Record<string, unknown>): Catalog {
  return new Map(Object.entries(info).map(([name, raw]) => [name, defOf(name, raw as RawInfo)]));
}

/** Whether an output may go into an input: equal, any, or a common member of unions. */
export function fits(from: string, to: string): boolean {
  if (from === to || from === '*' || to === '*') return true;
  const wanted = to.split(',');
  return from.split(',').some((x) => wanted.includes(x));
}

/** Classes whose words all match; a title that begins with the first word comes first. */
export function findNodes(all: Catalog, words: string, wants?: { side: 'input' | 'output'; type: string }): NodeDef[] {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  const right = (d: NodeDef): boolean =>
    !wants || (wants.side === 'input' ? d.inputs.some((i) => fits(wants.type, i.type)) : d.outputs.some((o) => fits(o.type, wants.type)));
  const score = (d: NodeDef): number => (parts[0] && d.title.toLowerCase().startsWith(parts[0]) ? 0 : parts[0] && d.title.toLowerCase().includes(parts[0]) ? 1 : 2);
  // For a link: classes with exactly that type before those that take any.
  const exact = (d: NodeDef): number => (!wants || (wants.side === 'input' ? d.inputs : d.outputs).some((x) => x.type === wants.type) ? 0 : 1);
  return [...all.values()]
    .filter((d) => right(d) && parts.every((p) => d.search.includes(p)))
    .sort((a, b) => exact(a) - exact(b) || score(a) - score(b) || a.title.localeCompare(b.title));
}
