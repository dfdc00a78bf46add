/** What the reader chose, kept in this browser: language, colours, time zone, shortcuts. */

import type { Locale } from './format.js';
import { Store, useStore } from './store.js';
import { type Language, LANGUAGES } from './strings/index.js';

export const THEMES = ['system', 'light', 'dark'] as const;
export const ZONES = ['local', 'utc'] as const;

export interface Preferences {
  readonly language: Language;
  readonly theme: (typeof THEMES)[number];
  readonly zone: (typeof ZONES)[number];
  /** A single key may be pressed by mistake, or by dictation, so it can be switched off. */
  readonly shortcuts: boolean;
}

const KEY = 'latchkey.preferences';
const store = new Store<Preferences>(read());

function read(): Preferences {
  const language = LANGUAGES.find((one) => navigator.language.toLowerCase().startsWith(one)) ?? 'en';
  const defaults: Preferences = { language, theme: 'system', zone: 'local', shortcuts: true };
  try {
    const saved = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Record<keyof Preferences, unknown>>;
    return {
      language: LANGUAGES.find((one) => one === saved.language) ?? defaults.language,
      theme: THEMES.find((one) => one === saved.theme) ?? defaults.theme,
      zone: ZONES.find((one) => one === saved.zone) ?? defaults.zone,
      shortcuts: saved.shortcuts !== false,
    };
  } catch {
    // No storage, or not ours.
    return defaults;
  }
}

addEventListener('storage', ({ key }) => {
  if (key !== KEY) return;
  store.set(read());
  applyPreferences();
});

export function setPreferences(changes: Partial<Preferences>): void {
  store.set({ ...store.value, ...changes });
  try {
    localStorage.setItem(KEY, JSON.stringify(store.value));
  } catch {
    // They then hold until the page is closed.
  }
  applyPreferences();
}

/** The colours are chosen by an attribute of the document that the stylesheet has rules for. */
export function applyPreferences(): void {
  const { language, theme } = store.value;
  document.documentElement.lang = language;
  document.documentElement.dataset['theme'] = theme;
}

export function currentPreferences(): Preferences {
  return store.value;
}

export function usePreferences(): Preferences {
  return useStore(store);
}

export function localeOf({ language, zone }: Preferences): Locale {
  return { language, timeZone: zone === 'utc' ? 'UTC' : undefined };
}
