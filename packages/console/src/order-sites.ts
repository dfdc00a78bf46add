/** How far an order is at each site, from its nodes. */

import type { NodeView } from '@latchkey/operations/contract';

export interface SiteProgress {
  /** `null`: nodes without one. */
  readonly site: string | null;
  readonly nodes: number;
  readonly joined: number;
}

/** The largest first. */
export function progressBySite(nodes: readonly NodeView[]): readonly SiteProgress[] {
  const sites = new Map<string | null, { site: string | null; nodes: number; joined: number }>();
  for (const { site, key_is_initial: isInitial } of nodes) {
    const progress = sites.get(site) ?? { site, nodes: 0, joined: 0 };
    progress.nodes += 1;
    if (!isInitial) progress.joined += 1;
    sites.set(site, progress);
  }
  return [...sites.values()].toSorted((a, b) => b.nodes - a.nodes);
}

/** When the first of them joined, and when one last did; `undefined` if none has. */
export function joinTimes(nodes: readonly NodeView[]): { readonly first: string; readonly latest: string } | undefined {
  const times = nodes.flatMap(({ joined_at: at }) => (at === null ? [] : [at])).toSorted();
  const [first, latest] = [times[0], times.at(-1)];
  return first === undefined || latest === undefined ? undefined : { first, latest };
}
