/** A workflow as the editor holds it, free of any library's shapes. */
import type { Catalog, NodeDef, Value } from './catalog';
import { clamp, whole } from './exact';

/** 0 runs, 2 is muted, 4 is bypassed (ComfyUI's numbers). */
export type Mode = 0 | 2 | 4;
export type After = 'randomize' | 'fixed' | 'increment' | 'decrement';

export interface GNode {
  id: string;
  type: string;
  x: number;
  y: number;
  w?: number;
  h?: number;
  title?: string;
  mode: Mode;
  values: Record<string, Value>;
  after?: After;
  color?: string;
  collapsed?: boolean;
  /** What other editors note of a node, for them. */
  keep?: Record<string, unknown>;
}

export interface GLink {
  from: string;
  slot: number;
  to: string;
  input: string;
}

export interface GGroup {
  id: string;
  title: string;
  x: number;
  y: number;
  w: number;
  h: number;
  color?: string;
}

export interface Graph {
  nodes: GNode[];
  links: GLink[];
  groups: GGroup[];
}

export const EMPTY: Graph = { nodes: [], links: [], groups: [] };

export function defaultsOf(def: NodeDef | undefined): Record<string, Value> {
  return Object.fromEntries((def?.inputs ?? []).filter((i) => i.widget).map((i) => [i.name, i.default]));
}

/** A seed that JSON numbers keep exactly. */
export function randomSeed(max: number | bigint = Number.MAX_SAFE_INTEGER): number {
  const r = crypto.getRandomValues(new Uint32Array(2));
  const n = (r[0]! & 0x1fffff) * 4294967296 + r[1]!;
  return max > 0 && max < Number.MAX_SAFE_INTEGER ? n % (Number(max) + 1) : n;
}

/** What happens to seeds after a job was queued. Returns the changed values. */
export function afterQueue(graph: Graph, catalog: Catalog): Map<string, Record<string, Value>> {
  const out = new Map<string, Record<string, Value>>();
  for (const n of graph.nodes) {
    const input = catalog.get(n.type)?.inputs.find((i) => i.seed);
    if (!input || graph.links.some((l) => l.to === n.id && l.input === input.name)) continue;
    const v = n.values[input.name];
    const old = typeof v === 'bigint' ? v : BigInt(typeof v === 'number' ? Math.trunc(v) : 0);
    const step = { increment: 1n, decrement: -1n, fixed: 0n, randomize: 0n }[n.after ?? 'randomize'];
    if (step) out.set(n.id, { [input.name]: whole(String(clamp(old + step, input.min, input.max))) });
    else if ((n.after ?? 'randomize') === 'randomize') out.set(n.id, { [input.name]: randomSeed(input.max) });
  }
  return out;
}

/** How high a node will be, before the page has drawn it. */
export function guessHeight(def: NodeDef | undefined): number {
  if (!def) return 90;
  const rows = Math.max(def.inputs.filter((i) => !i.widget).length, def.outputs.length);
  const widgets = def.inputs.filter((i) => i.widget).reduce((n, i) => n + (i.multiline ? 110 : 31), 0);
  return 44 + rows * 24 + widgets + 12;
}

/** Places nodes in columns by how far they are from the sources (for workflows without places). */
export function arrange(graph: Graph, catalog: Catalog): Graph {
  const depth = new Map<string, number>();
  const feeds = new Map<string, string[]>();
  for (const l of graph.links) feeds.set(l.to, [...(feeds.get(l.to) ?? []), l.from]);
  const depthOf = (id: string, seen: Set<string>): number => {
    const known = depth.get(id);
    if (known !== undefined) return known;
    if (seen.has(id)) return 0;
    seen.add(id);
    const d = Math.max(-1, ...(feeds.get(id) ?? []).map((f) => depthOf(f, seen))) + 1;
    depth.set(id, d);
    return d;
  };
  const heights: number[] = [];
  const nodes = graph.nodes.map((n) => {
    const d = depthOf(n.id, new Set());
    const y = heights[d] ?? 0;
    heights[d] = y + guessHeight(catalog.get(n.type)) + 46;
    return { ...n, x: d * 330, y };
  });
  const tallest = Math.max(0, ...heights.filter(Boolean));
  return { ...graph, nodes: nodes.map((n) => ({ ...n, y: n.y + (tallest - (heights[depth.get(n.id) ?? 0] ?? 0)) / 3 })) };
}
