/** What a component shows of the API: loaded when it appears, and again on request. */

import { useCallback, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Answer, type Problem, problemOf, requestTagged } from './api.js';
import { readSecret, useGeneration } from './session.js';

export interface Resource<T> {
  readonly data: T | undefined;
  /** Entity tag of the data. */
  readonly tag: string | undefined;
  readonly problem: Problem | undefined;
  readonly isLoading: boolean;
  /** Whether the data are those of the path, and not those of the path before. */
  readonly isCurrent: boolean;
  /** When the data came, ms since the epoch. */
  readonly at: number | undefined;
  /** The time of the server when it answered, ms since the epoch. */
  readonly serverAt: number | undefined;
  /** Loads the data again: what is under way may have been read before a change. */
  readonly reload: () => void;
  /**
   * Reloads the data in the background, after a pending load. A slow answer is therefore not
   * requested twice.
   */
  readonly refresh: () => void;
}

interface Loaded<T> extends Partial<Answer<T>> {
  readonly path: string | undefined;
  readonly problem?: Problem | undefined;
  readonly at?: number | undefined;
}

/** Problems after which nothing is shown of what was loaded before. */
const GONE: ReadonlySet<string> = new Set(['not-found', 'forbidden']);

/**
 * @param path `undefined` loads nothing
 * @param keepsPrevious shows what was loaded from another path until this one is there
 */
export function useResource<T>(
  path: string | undefined,
  { keepsPrevious = false }: { readonly keepsPrevious?: boolean } = {},
): Resource<T> {
  const generation = useGeneration();
  const [own, setOwn] = useState(0);
  const [loaded, setLoaded] = useState<Loaded<T>>({ path: undefined });
  const [isLoading, setLoading] = useState(false);
  const refreshing = useRef({ isUnderWay: false, isWanted: false, isQuiet: false });
  const reload = useCallback(() => setOwn((count) => count + 1), []);
  // Not after the next frame is drawn, as an effect: the answer would come that much later.
  useLayoutEffect(() => {
    if (path === undefined) return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    const load = async (): Promise<void> => {
      try {
        const answer = await requestTagged<T>(path, { signal });
        if (!signal.aborted) setLoaded({ path, ...answer, at: Date.now() });
      } catch (error) {
        const problem = problemOf(error);
        // Without a session, the shown data stay until a user signs in again.
        if (!signal.aborted && problem.name !== 'not-authenticated')
          setLoaded((before) => ({ ...(before.path === path && !GONE.has(problem.name) ? before : {}), path, problem }));
      }
      if (signal.aborted) return;
      setLoading(false);
      const { isWanted } = refreshing.current;
      refreshing.current = { isUnderWay: false, isWanted: false, isQuiet: isWanted };
      if (isWanted) reload();
    };
    if (!refreshing.current.isQuiet) setLoading(true);
    refreshing.current = { isUnderWay: true, isWanted: false, isQuiet: false };
    void load();
    return () => controller.abort();
  }, [path, generation, own]);
  const refresh = useCallback(() => {
    const { isUnderWay } = refreshing.current;
    // Nothing comes without a session.
    if (readSecret() === null) return;
    refreshing.current = { isUnderWay, isWanted: isUnderWay, isQuiet: !isUnderWay };
    if (!isUnderWay) reload();
  }, []);
  const isCurrent = loaded.path === path;
  const { data, tag, problem, at, serverAt } = isCurrent || keepsPrevious ? loaded : ({} as Loaded<T>);
  return {
    data,
    tag,
    problem: isCurrent ? problem : undefined,
    at,
    serverAt,
    isLoading: isLoading && path !== undefined,
    isCurrent,
    reload,
    refresh,
  };
}

/**
 * Returns the value with which the shown data were requested: for example the former filters, until
 * the new data arrive.
 */
export function useAskedWith<V>({ data, isCurrent }: Resource<unknown>, now: V): V {
  const shown = useRef(now);
  if (isCurrent || data === undefined) shown.current = now;
  return shown.current;
}
