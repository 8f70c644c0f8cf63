/** The address bar: plain paths, which the server answers with the page. */
let path = $state(location.pathname);
let query = $state(location.search);

export const route = {
  get path(): string {
    return path;
  },
  /** The parts between slashes. */
  get parts(): string[] {
    return path.split('/').filter(Boolean);
  },
  get query(): URLSearchParams {
    return new URLSearchParams(query);
  },
};

function read(): void {
  path = location.pathname;
  query = location.search;
}

export function go(to: string, replace = false): void {
  if (to === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  read();
}

export function startRouter(): void {
  addEventListener('popstate', read);
  document.addEventListener('click', (e) => {
    const a = e.target instanceof Element ? e.target.closest('a') : null;
    if (!a || e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || a.target || a.hasAttribute('download')) return;
    if (a.origin !== location.origin || a.pathname.startsWith('/api/') || a.pathname.startsWith('/comfy/')) return;
    e.preventDefault();
    go(a.pathname + a.search);
  });
}
