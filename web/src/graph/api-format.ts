/** The API format: `{id: {class_type, inputs: {name: literal | [id, slot]}}}`. */
import type { Catalog, Value } from './catalog';
import { arrange, defaultsOf, type Graph, type GLink, type GNode } from './model';

export interface ApiNode {
  class_type: string;
  inputs: Record<string, Value>;
  _meta?: { title?: string };
}
export type ApiGraph = Record<string, ApiNode>;

export function isApiGraph(x: unknown): x is ApiGraph {
  if (typeof x !== 'object' || x === null || Array.isArray(x)) return false;
  const all = Object.values(x);
  return all.length > 0 && all.every((n) => typeof n === 'object' && n !== null && typeof (n as ApiNode).class_type === 'string');
}

export function fromApi(api: ApiGraph, catalog: Catalog): Graph {
  const nodes: GNode[] = [];
  const links: GLink[] = [];
  for (const [id, n] of Object.entries(api)) {
    const values: Record<string, Value> = defaultsOf(catalog.get(n.class_type));
    for (const [name, v] of Object.entries(n.inputs ?? {})) {
      if (Array.isArray(v) && v.length === 2 && typeof v[1] === 'number' && String(v[0]) in api) links.push({ from: String(v[0]), slot: v[1], to: id, input: name });
      else values[name] = v;
    }
    const title = n._meta?.title;
    nodes.push({ id, type: n.class_type, x: 0, y: 0, mode: 0, values, ...(title ? { title } : {}), after: 'fixed' });
  }
  return arrange({ nodes, links, groups: [] }, catalog);
}

/** Where a link really begins: through bypassed nodes and reroutes. Null when it begins nowhere. */
export function sourceOf(graph: Graph, catalog: Catalog, link: GLink): { id: string; slot: number } | null {
  let at = link;
  for (let i = 0; i < 1000; i++) {
    const node = graph.nodes.find((n) => n.id === at.from);
    if (!node || node.mode === 2) return null;
    if (node.type !== 'Reroute' && node.mode !== 4) return { id: node.id, slot: at.slot };
    const into = graph.links.filter((l) => l.to === node.id);
    const def = catalog.get(node.type);
    const type = def?.outputs[at.slot]?.type;
    const next = node.type === 'Reroute' ? into[0] : into.find((l) => def?.inputs.find((x) => x.name === l.input)?.type === type);
    if (!next) return null;
    at = next;
  }
  return null;
}

export function toApi(graph: Graph, catalog: Catalog): ApiGraph {
  const out: ApiGraph = {};
  for (const n of graph.nodes) {
    const def = catalog.get(n.type);
    if (n.mode !== 0 || n.type === 'Reroute' || n.type === 'Note' || n.type === 'MarkdownNote' || n.type === 'PrimitiveNode') continue;
    const inputs: Record<string, Value> = {};
    const known = new Set(def?.inputs.filter((i) => i.widget).map((i) => i.name));
    for (const [name, v] of Object.entries(n.values)) if (!def || known.has(name)) inputs[name] = Array.isArray(v) ? { __value__: v } : v;
    for (const l of graph.links) {
      if (l.to !== n.id) continue;
      const source = graph.nodes.find((x) => x.id === l.from);
      if (source?.type === 'PrimitiveNode') {
        inputs[l.input] = source.values.value ?? null;
        continue;
      }
      const from = sourceOf(graph, catalog, l);
      if (from) inputs[l.input] = [from.id, from.slot];
    }
    out[n.id] = { class_type: n.type, inputs, _meta: { title: n.title ?? def?.title ?? n.type } };
  }
  return out;
}
