import type { JSX } from 'preact';
import { useSay } from '../phrase.js';

/** An empty cell. */
export function None(): JSX.Element {
  const say = useSay();
  return <span class="quiet">{say('common.none')}</span>;
}
