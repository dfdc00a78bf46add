/** What a component shows of the API: loaded when it appears, and again on request. */

import { useCallback, useEffect, useState } from 'preact/hooks';
import { type Problem, problemOf, requestTagged } from './api.js';
import { useGeneration } from './session.js';

export interface Resource<T> {
  readonly data: T | undefined;
  /** Entity tag of the data. */
  readonly tag: string | undefined;
  readonly problem: Problem | undefined;
  readonly isLoading: boolean;
  /** When the data came, ms since the epoch. */
  readonly at: number | undefined;
  readonly reload: () => void;
}

interface Loaded<T> {
  readonly path: string | undefined;
  readonly data?: T | undefined;
  readonly tag?: string | undefined;
  readonly problem?: Problem | undefined;
  readonly at?: number | undefined;
}

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
  useEffect(() => {
    if (path === undefined) return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    const load = async (): Promise<void> => {
      try {
        const { data, tag } = await requestTagged<T>(path, { signal });
        if (!signal.aborted) setLoaded({ path, data, tag, at: Date.now() });
      } catch (error) {
        const problem = problemOf(error);
        // Without a session, what is shown stays until somebody signs in again.
        if (!signal.aborted && problem.name !== 'not-authenticated')
          setLoaded((before) => ({ ...(before.path === path ? before : {}), path, problem }));
      }
      if (!signal.aborted) setLoading(false);
    };
    setLoading(true);
    void load();
    return () => controller.abort();
  }, [path, generation, own]);
  const reload = useCallback(() => setOwn((count) => count + 1), []);
  const { data, tag, problem, at } = loaded.path === path || keepsPrevious ? loaded : ({} as Loaded<T>);
  return {
    data,
    tag,
    problem: loaded.path === path ? problem : undefined,
    at,
    isLoading: isLoading && path !== undefined,
    reload,
  };
}
