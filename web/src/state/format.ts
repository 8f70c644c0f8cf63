/** Numbers and times for people. */
import { t } from './i18n.svelte';

export function bytes(n: number | undefined | null): string {
  if (!n || n < 0) return '0 B';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let i = 0;
  let v = n;
  while (v >= 1000 && i < units.length - 1) {
    v /= 1000;
    i++;
  }
  return `${v >= 100 || i === 0 ? v.toFixed(0) : v.toFixed(1)} ${units[i]}`;
}

export function seconds(ms: number | undefined | null): string {
  if (ms === undefined || ms === null) return '–';
  if (ms < 950) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}

export function duration(s: number): string {
  const d = Math.floor(s / 86400);
  const h = Math.floor((s % 86400) / 3600);
  const m = Math.floor((s % 3600) / 60);
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min` : `${Math.floor(s)} s`;
}

export function rate(n: number | undefined): string {
  if (!n) return '0';
  return n >= 100 ? n.toFixed(0) : n.toFixed(1);
}

export function when(at: number | undefined | null, lang: string): string {
  if (!at) return '–';
  const d = new Date(at * 1000);
  const sameDay = d.toDateString() === new Date().toDateString();
  return d.toLocaleString(lang, sameDay ? { hour: '2-digit', minute: '2-digit' } : { dateStyle: 'medium', timeStyle: 'short' });
}

export const filesOf = (n: number): string => (n === 1 ? t('1 file') : t('{n} files', { n }));

/** Which heading of the sidebar a time belongs under. */
export function dateGroup(at: number, now = new Date()): string {
  const start = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime() / 1000;
  if (at >= start) return 'Today';
  if (at >= start - 86400) return 'Yesterday';
  if (at >= start - 7 * 86400) return 'Last 7 days';
  if (at >= start - 30 * 86400) return 'Last 30 days';
  return 'Older';
}
