/** Messages as a tree: pure functions over parent links. */
export interface Node {
  id: string;
  parent_id: string | null;
}

export function childrenOf<T extends Node>(all: Iterable<T>): Map<string | null, T[]> {
  const out = new Map<string | null, T[]>();
  for (const m of all) {
    const list = out.get(m.parent_id);
    if (list) list.push(m);
    else out.set(m.parent_id, [m]);
  }
  return out;
}

/** From the root to `leaf`. */
export function pathTo<T extends Node>(all: Map<string, T>, leaf: string | null): T[] {
  const out: T[] = [];
  const seen = new Set<string>();
  for (let m = leaf ? all.get(leaf) : undefined; m && !seen.has(m.id); m = m.parent_id ? all.get(m.parent_id) : undefined) {
    seen.add(m.id);
    out.push(m);
  }
  return out.reverse();
}

/** The newest leaf below a message. */
export function leafBelow<T extends Node>(children: Map<string | null, T[]>, id: string): string {
  for (let i = 0; i < 100000; i++) {
    const next = children.get(id)?.at(-1);
    if (!next) return id;
    id = next.id;
  }
  return id;
}
