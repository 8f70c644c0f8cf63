/** ComfyUI's saved workflows (version 0.4; version 1 is read too): nodes, links, groups, widgets in order. */
import type { Catalog, InputDef, NodeDef, Value } from './catalog';
import { unquoted } from './exact';
import { defaultsOf, type After, type GGroup, type Graph, type GLink, type GNode, type Mode } from './model';

interface UiNode {
  id: number | string;
  type: string;
  pos: [number, number] | { 0: number; 1: number };
  size?: [number, number] | { 0: number; 1: number };
  mode?: number;
  title?: string;
  color?: string;
  bgcolor?: string;
  shape?: number;
  flags?: { collapsed?: boolean };
  inputs?: { name: string; type?: string; link?: number | null; widget?: { name: string } }[];
  outputs?: { name: string; type?: string; links?: number[] | null }[];
  widgets_values?: Value[] | Record<string, Value>;
  properties?: Record<string, Value>;
}
type UiLink = [number, number | string, number, number | string, number, string] | { id: number; origin_id: number | string; origin_slot: number; target_id: number | string; target_slot: number; type: string };
export interface UiGraph {
  id?: string;
  nodes: UiNode[];
  links: UiLink[];
  groups?: { title?: string; bounding?: number[]; color?: string }[];
  [key: string]: unknown;
}

export function isUiGraph(x: unknown): x is UiGraph {
  return typeof x === 'object' && x !== null && Array.isArray((x as UiGraph).nodes) && Array.isArray((x as UiGraph).links);
}

const AFTER: readonly string[] = ['randomize', 'fixed', 'increment', 'decrement'];

/** A list of values belongs to the widgets in order; a seed is followed by what happens to it. */
function readValues(def: NodeDef | undefined, given: UiNode['widgets_values']): { values: Record<string, Value>; after?: After } {
  const values = defaultsOf(def);
  if (!given) return { values };
  if (!Array.isArray(given)) return { values: { ...values, ...given } };
  if (!def) return { values: Object.fromEntries(given.map((v, i) => [`value_${i}`, v])) };
  let at = 0;
  let after: After | undefined;
  for (const input of def.inputs.filter((i) => i.widget)) {
    if (at >= given.length) break;
    const v = given[at++] ?? null;
    values[input.name] = input.type === 'INT' ? (unquoted(v) as Value) : v;
    if (input.seed && AFTER.includes(String(given[at]))) after = given[at++] as After;
    if (input.upload && given[at] === 'image') at++;
  }
  return { values, ...(after ? { after } : {}) };
}

/** What only other editors know: it goes back into the file as it was. */
function keepOf(n: UiNode): Pick<GNode, 'keep'> {
  const kept = Object.entries({ bgcolor: n.bgcolor, shape: n.shape, properties: n.properties }).filter(([, v]) => v !== undefined);
  return kept.length ? { keep: Object.fromEntries(kept) } : {};
}

export function fromUi(ui: UiGraph, catalog: Catalog): Graph {
  const inputs = new Map<string, string[]>();
  const nodes = ui.nodes.map((n): GNode => {
    const id = String(n.id);
    const def = catalog.get(n.type);
    inputs.set(id, n.inputs?.map((i) => i.widget?.name ?? i.name) ?? def?.inputs.filter((i) => !i.widget).map((i) => i.name) ?? []);
    const read = n.type === 'PrimitiveNode' || n.type === 'Note' || n.type === 'MarkdownNote'
      ? { values: Object.fromEntries((Array.isArray(n.widgets_values) ? n.widgets_values : [null]).map((v, i) => [i ? `value_${i}` : 'value', v])) }
      : readValues(def, n.widgets_values);
    const mode: Mode = n.mode === 2 || n.mode === 4 ? n.mode : 0;
    return {
      id,
      type: n.type,
      x: Number(n.pos?.[0] ?? 0),
      y: Number(n.pos?.[1] ?? 0),
      mode,
      ...read,
      ...(n.size ? { w: Math.max(210, Number(n.size[0])), h: Number(n.size[1]) } : {}),
      ...(n.title && n.title !== def?.title && n.title !== n.type ? { title: n.title } : {}),
      ...(n.color ? { color: n.color } : {}),
      ...(n.flags?.collapsed ? { collapsed: true } : {}),
      ...keepOf(n),
    };
  });
  const links: GLink[] = [];
  for (const l of ui.links) {
    if (!l) continue;
    const [from, slot, to, index] = Array.isArray(l) ? [l[1], l[2], l[3], l[4]] : [l.origin_id, l.origin_slot, l.target_id, l.target_slot];
    const input = inputs.get(String(to))?.[index];
    if (input !== undefined && inputs.has(String(from))) links.push({ from: String(from), slot, to: String(to), input });
  }
  const groups = (ui.groups ?? []).map((g, i): GGroup => {
    const [x = 0, y = 0, w = 300, h = 200] = g.bounding ?? [];
    return { id: `g${i + 1}`, title: g.title ?? '', x, y, w, h, ...(g.color ? { color: g.color } : {}) };
  });
  return { nodes, links, groups };
}

function writeValues(inputs: InputDef[], n: GNode): Value[] {
  const out: Value[] = [];
  for (const i of inputs) {
    out.push(n.values[i.name] ?? null);
    if (i.seed) out.push(n.after ?? 'randomize');
    if (i.upload) out.push('image');
  }
  return out;
}

const idOf = (id: string): number | string => (/^\d+$/.test(id) ? Number(id) : id);

export function toUi(graph: Graph, catalog: Catalog): UiGraph {
  const links = graph.links.map((l, i) => ({ ...l, id: i + 1 }));
  const nodes = graph.nodes.map((n, order): UiNode & { order: number } => {
    const def = catalog.get(n.type);
    const widgets = def?.inputs.filter((i) => i.widget) ?? [];
    const into = links.filter((l) => l.to === n.id);
    const shown = (def?.inputs ?? []).filter((i) => !i.widget || into.some((l) => l.input === i.name));
    const extra = into.filter((l) => !shown.some((i) => i.name === l.input));
    return {
      id: idOf(n.id),
      type: n.type,
      pos: [Math.round(n.x), Math.round(n.y)],
      size: [Math.round(n.w ?? 280), Math.round(n.h ?? 120)],
      flags: n.collapsed ? { collapsed: true } : {},
      order,
      mode: n.mode,
      inputs: [
        ...shown.map((i) => ({ name: i.name, type: i.type, link: into.find((l) => l.input === i.name)?.id ?? null, ...(i.widget ? { widget: { name: i.name } } : {}) })),
        ...extra.map((l) => ({ name: l.input, type: '*', link: l.id })),
      ],
      outputs: (def?.outputs ?? [{ name: '', type: '*' }]).map((o, slot) => {
        const mine = links.filter((l) => l.from === n.id && l.slot === slot).map((l) => l.id);
        return { name: o.name, type: o.type, links: mine.length ? mine : null };
      }),
      ...n.keep,
      properties: { 'Node name for S&R': n.type, ...(n.keep?.properties as object | undefined) },
      widgets_values: def ? writeValues(widgets, n) : Object.values(n.values),
      ...(n.title ? { title: n.title } : {}),
      ...(n.color ? { color: n.color } : {}),
    };
  });
  const slots = new Map(nodes.map((n) => [String(n.id), n.inputs?.map((i) => i.widget?.name ?? i.name) ?? []]));
  return {
    last_node_id: Math.max(0, ...graph.nodes.map((n) => Number(n.id) || 0)),
    last_link_id: links.length,
    nodes,
    links: links.map((l): UiLink => {
      const type = catalog.get(graph.nodes.find((n) => n.id === l.from)?.type ?? '')?.outputs[l.slot]?.type ?? '*';
      return [l.id, idOf(l.from), l.slot, idOf(l.to), Math.max(0, slots.get(l.to)?.indexOf(l.input) ?? 0), type];
    }),
    groups: graph.groups.map((g) => ({ title: g.title, bounding: [g.x, g.y, g.w, g.h].map(Math.round), ...(g.color ? { color: g.color } : {}) })),
    config: {},
    extra: {},
    version: 0.4,
  };
}
