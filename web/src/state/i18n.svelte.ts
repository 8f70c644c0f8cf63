/** Messages: the English text is the key, so English needs no catalogue; others are loaded when chosen. */
export type Locale = 'en' | 'de';
type Catalogue = Record<string, string>;

const LOADERS: Record<Exclude<Locale, 'en'>, () => Promise<{ default: Catalogue }>> = {
  de: () => import('../messages/de'),
};

export const LOCALES: { id: Locale; name: string }[] = [
  { id: 'en', name: 'English' },
  { id: 'de', name: 'Deutsch' },
];

let catalogue = $state.raw<Catalogue>({});
let current = $state<Locale>('en');

export const locale = {
  get id(): Locale {
    return current;
  },
};

export async function setLocale(id: Locale): Promise<void> {
  catalogue = id === 'en' ? {} : (await LOADERS[id]()).default;
  current = id;
  document.documentElement.lang = id;
  localStorage.setItem('hob.locale', id);
}

export async function startLocale(): Promise<void> {
  const kept = localStorage.getItem('hob.locale') ?? (navigator.language.startsWith('de') ? 'de' : 'en');
  if (kept === 'de') await setLocale('de');
}

/** The text in the chosen language, with `{name}` replaced. */
export function t(key: string, values?: Record<string, string | number>): string {
  const text = catalogue[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole)) : text;
}
