/** Which models there are, which one is chosen for the next chat, and what is being pulled. */
import * as rest from '../api/rest';
import type { Model, Pull } from '../api/types';
import { app } from './app.svelte';

class Models {
  list = $state.raw<Model[]>([]);
  loaded = $state(false);
  pulls = $state.raw<Pull[]>([]);
  wanted = $state(localStorage.getItem('hob.model') ?? '');

  /** Models one can chat with. */
  readonly chatting = $derived(this.list.filter((m) => !m.error && (!m.capabilities?.length || m.capabilities.includes('completion'))));
  /** Models that are there and cannot be read. */
  readonly broken = $derived(this.list.filter((m) => m.error && !m.preset));
  /** The chosen one, or the best guess while none was chosen. */
  readonly current = $derived(
    this.chatting.find((m) => m.id === this.wanted)?.id ??
      this.chatting.find((m) => m.id === app.config?.default_models)?.id ??
      (this.chatting.find((m) => m.loaded) ?? this.chatting[0])?.id ??
      '',
  );

  find(id: string | null | undefined): Model | undefined {
    return this.list.find((m) => m.id === id);
  }

  choose(id: string): void {
    this.wanted = id;
    localStorage.setItem('hob.model', id);
  }

  async refresh(): Promise<void> {
    this.list = await rest.models();
    this.loaded = true;
  }

  async refreshPulls(): Promise<void> {
    if (app.isAdmin) this.pulls = await rest.pulls();
  }

  onPull(pull: Pull): void {
    const known = this.pulls.some((p) => p.id === pull.id);
    this.pulls = known ? this.pulls.map((p) => (p.id === pull.id ? pull : p)) : [...this.pulls, pull];
    if (!pull.done) return;
    if (pull.error) app.say(pull.error, 'error');
    void this.refresh();
    setTimeout(() => (this.pulls = this.pulls.filter((p) => p.id !== pull.id)), 3000);
  }

  async pull(name: string): Promise<void> {
    await app.attempt(async () => this.onPull(await rest.startPull(name)));
  }

  async cancel(id: string): Promise<void> {
    await app.attempt(() => rest.cancelPull(id));
    this.pulls = this.pulls.filter((p) => p.id !== id);
  }
}

export const models = new Models();
