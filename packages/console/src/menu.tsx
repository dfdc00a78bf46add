/** What the reader chooses, and signing out. */

import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { request } from './api.js';
import { browserZone } from './format.js';
import { menuPagesOf } from './keyboard.js';
import { useLocation } from './navigation.js';
import { useSay } from './phrase.js';
import { type Preferences, setPreferences, THEMES, usePreferences, ZONES } from './preferences.js';
import { signOut, type User } from './session.js';
import { LANGUAGES } from './strings/index.js';

const NAMES = { en: 'English', de: 'Deutsch' } as const;

interface MenuProps {
  readonly user: User | undefined;
  readonly onHelp: () => void;
}

export function Menu({ user, onHelp }: MenuProps): JSX.Element {
  const say = useSay();
  const preferences = usePreferences();
  const menu = useRef<HTMLDivElement>(null);
  const { path } = useLocation();
  // Reading the time zone takes a tenth of a page's start, so it is read when the menu opens.
  const [zone, setZone] = useState('');
  const leave = async (): Promise<void> => {
    try {
      const ended = await request<{ readonly location: string } | undefined>('/v1/logout', { method: 'POST', body: {} });
      // The session of the sign-in provider ends there.
      if (ended !== undefined) location.assign(ended.location);
    } catch {
      // The page forgets the session all the same, and the server ends it when it is idle.
    }
    signOut();
  };
  return (
    <div class="menu">
      <button type="button" class="plain" popovertarget="menu">
        <span class="hidden">{say('menu.label')}</span> {user?.user}
        <span aria-hidden="true">{user === undefined ? '⚙' : '▾'}</span>
      </button>
      <div
        id="menu"
        popover="auto"
        ref={menu}
        role="group"
        aria-label={say('menu.label')}
        onBeforeToggle={() => setZone(browserZone())}
      >
        {user !== undefined && <p class="quiet">{say('menu.role', { user: user.user, role: user.role })}</p>}
        <nav aria-label={say('menu.pages')} onClick={() => menu.current?.hidePopover()}>
          {menuPagesOf(user).map(({ page, path: target, key }) => (
            <a key={page} href={target} aria-current={target === path ? 'page' : undefined} aria-keyshortcuts={`g ${key}`}>
              {say(`page.${page}`)}
            </a>
          ))}
        </nav>
        <Choice
          label={say('menu.language')}
          value={preferences.language}
          options={LANGUAGES.map((language) => [language, NAMES[language]])}
          onChange={(language) => setPreferences({ language })}
        />
        <Choice
          label={say('menu.theme')}
          value={preferences.theme}
          options={THEMES.map((theme) => [theme, say(`menu.theme-${theme}`)])}
          onChange={(theme) => setPreferences({ theme })}
        />
        <Choice
          label={say('menu.zone')}
          value={preferences.zone}
          options={ZONES.map((one) => [one, say(`menu.zone-${one}`, { zone })])}
          onChange={(one: Preferences['zone']) => setPreferences({ zone: one })}
        />
        <label class="check">
          <input
            type="checkbox"
            checked={preferences.shortcuts}
            onChange={(event) => setPreferences({ shortcuts: event.currentTarget.checked })}
          />{' '}
          {say('menu.shortcuts')}
        </label>
        <button
          type="button"
          onClick={() => {
            menu.current?.hidePopover();
            onHelp();
          }}
        >
          {say('menu.keys')} <kbd aria-hidden="true">?</kbd>
        </button>
        <button type="button" onClick={() => void leave()}>
          {say('menu.sign-out')}
        </button>
      </div>
    </div>
  );
}

interface ChoiceProps<V extends string> {
  readonly label: string;
  readonly value: V;
  readonly options: readonly (readonly [V, string])[];
  readonly onChange: (value: V) => void;
}

function Choice<V extends string>({ label, value, options, onChange }: ChoiceProps<V>): JSX.Element {
  return (
    <label>
      <span>{label}</span>
      <select
        value={value}
        onChange={(event) => {
          const chosen = options[event.currentTarget.selectedIndex];
          if (chosen !== undefined) onChange(chosen[0]);
        }}
      >
        {options.map(([option, name]) => (
          <option key={option} value={option} selected={option === value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
