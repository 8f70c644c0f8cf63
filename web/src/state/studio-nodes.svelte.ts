/** Nodes and groups as the canvas holds them. */
import type { Node } from '@xyflow/svelte';
import type { NodeDef, Value } from '../graph/catalog';
import type { After, GNode, Mode } from '../graph/model';

/** What a node's component shows and changes. */
export class NodeBox {
  readonly type: string;
  readonly def: NodeDef | undefined;
  values = $state<Record<string, Value>>({});
  title = $state('');
  mode = $state<Mode>(0);
  after = $state<After>('randomize');
  color = $state('');
  collapsed = $state(false);
  readonly keep: GNode['keep'];

  constructor(n: GNode, def: NodeDef | undefined) {
    this.type = n.type;
    this.def = def;
    this.values = { ...n.values };
    this.title = n.title ?? '';
    this.mode = n.mode;
    this.after = n.after ?? 'randomize';
    this.color = n.color ?? '';
    this.collapsed = n.collapsed ?? false;
    this.keep = n.keep;
  }
}

export class GroupBox {
  title = $state('');
  readonly color: string;
  constructor(title: string, color = '') {
    this.title = title;
    this.color = color;
  }
}

export type WorkNode = Node<{ box: NodeBox }, 'work'>;
export type GroupNode = Node<{ group: GroupBox }, 'area'>;
export type AnyNode = WorkNode | GroupNode;

export const isWork = (n: AnyNode): n is WorkNode => n.type === 'work';
