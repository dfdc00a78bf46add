import type { JSX } from 'preact';
import { formatNumber } from '../format.js';
import { useSay } from '../phrase.js';
import { localeOf, usePreferences } from '../preferences.js';

interface ProgressBarProps {
  readonly nodes: number;
  readonly joined: number;
}

/** How many of some nodes have joined. */
export function ProgressBar({ nodes, joined }: ProgressBarProps): JSX.Element {
  const say = useSay();
  const locale = localeOf(usePreferences());
  const text = say('orders.joined-of', { joined: formatNumber(joined, locale), nodes: formatNumber(nodes, locale) });
  return (
    <span class="progress">
      <progress value={joined} max={Math.max(nodes, 1)} aria-label={text} />
      <span aria-hidden="true">{text}</span>
    </span>
  );
}
