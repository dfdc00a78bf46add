import type { JSX } from 'preact';
import { formatAbsolute, formatRelative } from '../format.js';
import { localeOf, usePreferences } from '../preferences.js';
import { Store, useStore } from '../store.js';

const TICK_MS = 15_000;
const tick = new Store(0);

/** Relative times grow older while they are on the screen. */
export function startClock(): void {
  setInterval(() => tick.set(tick.value + 1), TICK_MS);
}

interface TimeProps {
  /** ISO 8601 */
  readonly at: string;
  /** `relative` has the absolute time as its title. */
  readonly as?: 'relative' | 'absolute' | 'both';
}

export function Time({ at, as = 'relative' }: TimeProps): JSX.Element {
  const locale = localeOf(usePreferences());
  useStore(tick);
  const ms = Date.parse(at);
  const absolute = formatAbsolute(ms, locale);
  if (as === 'absolute') return <time dateTime={at}>{absolute}</time>;
  const relative = formatRelative(ms, Date.now(), locale);
  if (as === 'relative')
    return (
      <time dateTime={at} title={absolute}>
        {relative}
      </time>
    );
  return (
    <time dateTime={at}>
      {relative} <span class="quiet">{absolute}</span>
    </time>
  );
}
