/** Auth-servers' registries on one database, in processes of their own. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PostgresConfig } from '@latchkey/registry/postgres';

export interface WorkerPlace {
  readonly config: PostgresConfig;
  readonly folder: string;
  /** File with the master key. */
  readonly masterKey: string;
  /** In the registry. */
  readonly nodes: number;
  /** Which of the servers it is. */
  readonly index: number;
  readonly servers: number;
}

export type WorkerTask =
  | { readonly what: 'prepare'; readonly commits: number; readonly inFlight: number }
  | { readonly what: 'commit' | 'end' };
export type WorkerAnswer = 'ready' | 'done';

export class CommitServers {
  readonly #children: readonly ChildProcess[];

  private constructor(children: readonly ChildProcess[]) {
    this.#children = children;
  }

  static async start(
    folder: string,
    count: number,
    place: Omit<WorkerPlace, 'folder' | 'index' | 'servers'>,
  ): Promise<CommitServers> {
    const children: ChildProcess[] = [];
    for (let index = 0; index < count; index++) {
      const own = join(folder, `server-${index}`);
      await mkdir(own, { mode: 0o700 });
      const path = fileURLToPath(new URL('../../dist/engines/commit-worker.js', import.meta.url));
      const child = fork(path, [JSON.stringify({ ...place, folder: own, index, servers: count } satisfies WorkerPlace)]);
      children.push(child);
      await answered(child, 'ready');
    }
    return new CommitServers(children);
  }

  /** Commits in a second, of all that take part together, with so many in flight at each. */
  async commit(servers: number, commits: number, inFlight: number): Promise<number> {
    const taking = this.#children.slice(0, servers);
    await Promise.all(taking.map((child) => tell(child, { what: 'prepare', commits, inFlight }, 'ready')));
    const since = performance.now();
    await Promise.all(taking.map((child) => tell(child, { what: 'commit' }, 'done')));
    return (1_000 * servers * commits) / (performance.now() - since);
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.send({ what: 'end' } satisfies WorkerTask);
      await ended;
    }
  }
}

function tell(child: ChildProcess, task: WorkerTask, wanted: WorkerAnswer): Promise<void> {
  const done = answered(child, wanted);
  child.send(task);
  return done;
}

async function answered(child: ChildProcess, wanted: WorkerAnswer): Promise<void> {
  const ended = new AbortController();
  const end = (): void => ended.abort(new Error('a server of the bench ended'));
  child.once('exit', end);
  try {
    const [answer] = (await once(child, 'message', { signal: ended.signal })) as [WorkerAnswer];
    if (answer !== wanted) throw new Error(`a server of the bench is ${answer}, and not ${wanted}`);
  } finally {
    child.off('exit', end);
  }
}
