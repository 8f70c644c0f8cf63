/** The workflow on the canvas: nodes, links, groups, undo, the clipboard, files. */
import type { Edge } from '@xyflow/svelte';
import * as rest from '../api/rest';
import { fromApi, isApiGraph, toApi } from '../graph/api-format';
import type { Catalog } from '../graph/catalog';
import { parseExact, parseLoose, stringifyExact } from '../graph/exact';
import { afterQueue, defaultsOf, EMPTY, guessHeight, type GLink, type GNode, type Graph, type Mode } from '../graph/model';
import { exifJson, pngTexts } from '../graph/png';
import { typeClass } from '../graph/colors';
import { fromUi, isUiGraph, toUi } from '../graph/ui-format';
import { app } from './app.svelte';
import { randomId } from './device';
import { t } from './i18n.svelte';
import { pictures } from './queue.svelte';
import { GroupBox, isWork, NodeBox, type AnyNode, type GroupNode, type WorkNode } from './studio-nodes.svelte';

const DRAFT = 'hob.studio.graph';
const COPIED = 'hob.studio.copied';
const UNDO_MAX = 100;

class Studio {
  nodes = $state.raw<AnyNode[]>([]);
  edges = $state.raw<Edge[]>([]);
  name = $state('');
  fileId = $state<string | undefined>(undefined);
  catalog: Catalog = new Map();
  undoable = $state(0);
  redoable = $state(0);
  #past: string[] = [];
  #future: string[] = [];
  #now = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #copied = '';
  /** Changes with the workflow: what was copied elsewhere has no links to what is here. */
  #world = randomId();
  /** Set by the canvas: brings everything into view. */
  fit: (all?: boolean) => void = () => {}; // all of it, or on a phone its readable beginning

  readonly linked = $derived(new Set(this.edges.map((e) => `${e.target}:${e.targetHandle}`)));

  get graph(): Graph {
    const work = this.nodes.filter(isWork);
    return {
      nodes: work.map((n) => {
        const b = n.data.box;
        return {
          id: n.id, type: b.type, x: n.position.x, y: n.position.y, w: n.width ?? n.measured?.width, h: n.measured?.height ?? n.initialHeight, mode: b.mode,
          values: { ...b.values }, after: b.after,
          ...(b.title ? { title: b.title } : {}), ...(b.color ? { color: b.color } : {}), ...(b.collapsed ? { collapsed: true } : {}), ...(b.keep ? { keep: b.keep } : {}),
        };
      }),
      links: this.edges.map((e): GLink => ({ from: e.source, slot: Number(e.sourceHandle ?? 0), to: e.target, input: e.targetHandle ?? '' })),
      groups: this.nodes.flatMap((n) => (isWork(n) ? [] : [{ id: n.id, title: n.data.group.title, x: n.position.x, y: n.position.y, w: n.width ?? 300, h: n.height ?? 200, ...(n.data.group.color ? { color: n.data.group.color } : {}) }])),
    };
  }

  #nodeOf(n: GNode): WorkNode {
    const def = this.catalog.get(n.type);
    // with a height to begin with, only what is in view has to be drawn
    return { id: n.id, type: 'work', position: { x: n.x, y: n.y }, width: n.w ?? 280, initialHeight: n.h ?? guessHeight(def), data: { box: new NodeBox(n, def) }, dragHandle: '.head' };
  }
  edgeOf(l: GLink): Edge {
    const from = this.nodes.find((n) => n.id === l.from);
    const type = (from && isWork(from) ? from.data.box.def?.outputs[l.slot]?.type : undefined) ?? '*';
    return { id: `${l.from}.${l.slot}-${l.to}.${l.input}`, source: l.from, sourceHandle: String(l.slot), target: l.to, targetHandle: l.input, class: typeClass(type) };
  }

  put(g: Graph): void {
    const areas = g.groups.map((a): GroupNode => ({ id: `group-${a.id}`.replace('group-group-', 'group-'), type: 'area', position: { x: a.x, y: a.y }, width: a.w, height: a.h, zIndex: -10, data: { group: new GroupBox(a.title, a.color) }, dragHandle: '.area-head' }));
    this.nodes = [...areas, ...g.nodes.map((n) => this.#nodeOf(n))];
    this.edges = g.links.map((l) => this.edgeOf(l));
  }

  /** Shows another workflow; the one before can be had back by undo. */
  open(g: Graph, name = '', fileId?: string): void {
    this.put(g);
    this.#world = randomId();
    this.name = name;
    this.fileId = fileId;
    this.commit();
    setTimeout(() => this.fit(), 60);
  }

  /** Something changed: noted for undo and for the next visit once the hand rests. */
  touch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.commit(), 250);
  }
  commit(): void {
    const text = stringifyExact({ ...this.graph, nodes: this.graph.nodes.map(({ h: _, ...n }) => n) });
    if (text === this.#now) return;
    if (this.#now) this.#past.push(this.#now);
    if (this.#past.length > UNDO_MAX) this.#past.shift();
    this.#future = [];
    this.#keep(text);
  }
  #keep(text: string): void {
    this.#now = text;
    this.undoable = this.#past.length;
    this.redoable = this.#future.length;
    try {
      localStorage.setItem(DRAFT, stringifyExact({ name: this.name, fileId: this.fileId, graph: parseExact(text) as Graph }));
    } catch {
      /* storage full: the canvas still works */
    }
  }
  undo(): void {
    this.commit();
    const text = this.#past.pop();
    if (!text) return;
    this.#future.push(this.#now);
    this.put(parseExact(text) as Graph);
    this.#keep(text);
  }
  redo(): void {
    const text = this.#future.pop();
    if (!text) return;
    this.#past.push(this.#now);
    this.put(parseExact(text) as Graph);
    this.#keep(text);
  }

  /** What was here last time. False when nothing was. */
  restore(): boolean {
    try {
      const kept = parseExact(localStorage.getItem(DRAFT) ?? 'null') as { name?: string; fileId?: string; graph?: Graph } | null;
      if (!kept?.graph?.nodes?.length) return false;
      this.open(kept.graph, kept.name ?? '', kept.fileId);
      return true;
    } catch {
      return false;
    }
  }

  #freeId(): string {
    return String(Math.max(0, ...this.nodes.map((n) => Number(n.id) || 0)) + 1);
  }
  add(type: string, at: { x: number; y: number }): WorkNode {
    const def = this.catalog.get(type);
    const node = this.#nodeOf({ id: this.#freeId(), type, x: at.x, y: at.y, mode: 0, values: defaultsOf(def) });
    this.nodes = [...this.nodes.map((n) => (n.selected ? { ...n, selected: false } : n)), { ...node, selected: true }];
    this.touch();
    return node;
  }
  link(l: GLink): void {
    this.edges = [...this.edges.filter((e) => !(e.target === l.to && e.targetHandle === l.input)), this.edgeOf(l)];
    this.touch();
  }
  unlink(to: string, input: string): void {
    this.edges = this.edges.filter((e) => !(e.target === to && e.targetHandle === input));
    this.touch();
  }
  clear(): void {
    this.open(EMPTY);
  }

  get selected(): AnyNode[] {
    return this.nodes.filter((n) => n.selected);
  }
  selectAll(): void {
    this.nodes = this.nodes.map((n) => ({ ...n, selected: true }));
  }
  remove(): void {
    const gone = new Set(this.selected.map((n) => n.id));
    this.nodes = this.nodes.filter((n) => !gone.has(n.id));
    this.edges = this.edges.filter((e) => !e.selected && !gone.has(e.source) && !gone.has(e.target));
    this.touch();
  }
  setMode(mode: Mode): void {
    const boxes = this.selected.filter(isWork).map((n) => n.data.box);
    const next = boxes.every((b) => b.mode === mode) ? 0 : mode;
    for (const b of boxes) b.mode = next;
    this.touch();
  }
  copy(): void {
    const ids = new Set(this.selected.map((n) => n.id));
    const g = this.graph;
    const picked: Graph = { nodes: g.nodes.filter((n) => ids.has(n.id)), links: g.links.filter((l) => ids.has(l.to)), groups: [] };
    if (!picked.nodes.length) return;
    this.#copied = stringifyExact({ ...picked, world: this.#world });
    try {
      localStorage.setItem(COPIED, this.#copied); // for other tabs
    } catch { /* storage full: for this tab alone */ }
  }
  /** Copies keep their links to each other, and in the same workflow those to what fed them. */
  paste(at?: { x: number; y: number }): void {
    const text = localStorage.getItem(COPIED) ?? this.#copied;
    if (!text) return;
    const g = parseExact(text) as Graph & { world?: string };
    const x = Math.min(...g.nodes.map((n) => n.x));
    const y = Math.min(...g.nodes.map((n) => n.y));
    const move = at ? { x: at.x - x, y: at.y - y } : { x: 40, y: 40 };
    const first = Number(this.#freeId());
    const names = new Map(g.nodes.map((n, i) => [n.id, String(first + i)]));
    const made = g.nodes.map((n) => ({ ...this.#nodeOf({ ...n, id: names.get(n.id)!, x: n.x + move.x, y: n.y + move.y }), selected: true }));
    const here = new Set(g.world === this.#world ? this.nodes.map((n) => n.id) : []);
    this.nodes = [...this.nodes.map((n) => (n.selected ? { ...n, selected: false } : n)), ...made];
    const links = g.links.map((l) => ({ ...l, from: names.get(l.from) ?? (here.has(l.from) ? l.from : ''), to: names.get(l.to)! })).filter((l) => here.has(l.from) || made.some((n) => n.id === l.from));
    this.edges = [...this.edges, ...links.map((l) => this.edgeOf(l))];
    this.touch();
  }
  group(): void {
    const inside = this.selected.filter(isWork);
    if (!inside.length) return;
    const x = Math.min(...inside.map((n) => n.position.x)) - 20;
    const y = Math.min(...inside.map((n) => n.position.y)) - 50;
    const right = Math.max(...inside.map((n) => n.position.x + (n.measured?.width ?? 280))) + 20;
    const bottom = Math.max(...inside.map((n) => n.position.y + (n.measured?.height ?? 120))) + 20;
    const area: GroupNode = { id: `group-${Date.now()}`, type: 'area', position: { x, y }, width: right - x, height: bottom - y, zIndex: -10, data: { group: new GroupBox(t('Group')) }, dragHandle: '.area-head' };
    this.nodes = [area, ...this.nodes];
    this.touch();
  }

  /** Any text that holds a workflow: UI format, API format, or what hob saves. */
  load(text: string, name: string): boolean {
    let data: unknown;
    try {
      data = parseLoose(text);
    } catch {
      app.say(t('“{name}” holds no workflow.', { name }), 'error');
      return false;
    }
    const inner = (data as { workflow?: unknown; prompt?: unknown } | null) ?? {};
    for (const x of [data, inner.workflow, inner.prompt]) {
      if (isUiGraph(x)) {
        this.open(fromUi(x, this.catalog), name.replace(/\.json$/i, ''));
        return true;
      }
      if (isApiGraph(x)) {
        this.open(fromApi(x, this.catalog), name.replace(/\.json$/i, ''));
        return true;
      }
    }
    app.say(t('“{name}” holds no workflow.', { name }), 'error');
    return false;
  }
  async loadFile(file: File): Promise<boolean> {
    if (file.type === 'application/json' || /\.json$/i.test(file.name)) return this.load(await file.text(), file.name);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const texts = pngTexts(bytes);
    const found = texts.workflow ?? texts.prompt ?? exifJson(bytes);
    if (found) return this.load(found, file.name.replace(/\.\w+$/, ''));
    app.say(t('“{name}” holds no workflow.', { name: file.name }), 'error');
    return false;
  }
  get ui(): unknown {
    return toUi(this.graph, this.catalog);
  }
  get api(): unknown {
    return toApi(this.graph, this.catalog);
  }
  async save(name: string): Promise<void> {
    await app.attempt(async () => {
      const made = await rest.saveWorkflow(name, this.ui, name === this.name ? this.fileId : undefined);
      this.name = name;
      this.fileId = made.id;
      app.say(t('Saved.'));
    });
  }

  async queue(): Promise<void> {
    const g = this.graph;
    const taken = await pictures.submit(toApi(g, this.catalog), toUi(g, this.catalog));
    if (!taken) return;
    const changed = afterQueue(g, this.catalog);
    for (const n of this.nodes) if (isWork(n) && changed.has(n.id)) Object.assign(n.data.box.values, changed.get(n.id));
    this.touch();
  }
}

export const studio = new Studio();
