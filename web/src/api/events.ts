/** Server-sent events with names. EventSource reconnects and resumes by itself (Last-Event-ID); when it
 * gives up (a proxy's error page, a restart) it is opened again with the last id seen. */
import { parseExact } from '../graph/exact';

export type EventHandlers = Record<string, (data: unknown) => void>;

export interface EventFeed {
  close(): void;
}

export function openEvents(url: (after: string) => string, after: string, on: EventHandlers, onLink?: (up: boolean) => void): EventFeed {
  let last = after;
  let source: EventSource | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = 500;
  let closed = false;

  function open(): void {
    source = new EventSource(url(last));
    source.onopen = () => {
      wait = 500;
      onLink?.(true);
    };
    source.onerror = () => {
      onLink?.(false);
      if (source?.readyState !== EventSource.CLOSED || closed) return;
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, 8000);
    };
    for (const [name, handler] of Object.entries(on)) {
      source.addEventListener(name, (e: MessageEvent<string>) => {
        if (closed) return;
        if (e.lastEventId) last = e.lastEventId;
        handler(parseExact(e.data));
      });
    }
  }

  open();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      source?.close();
    },
  };
}
