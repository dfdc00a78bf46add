/** Engines, servers and links that break one rule of a registry that several servers share. */

import type { NodeRow, Registry } from '@latchkey/registry';
import {
  type Decide,
  Engine,
  InDoubt,
  type Keys,
  PostgresStorage,
  type Seen,
  type Session,
  type Snapshot,
  type Statement,
  Unavailable,
} from '@latchkey/registry/postgres/simulation';
import type { Process } from '../process.js';
import { PROFILE, type Rules } from '../rules.js';
import { SimulatedServer } from '../server.js';
import { SimulatedLastSeen } from '../shared-registry/last-seen.js';
import type { DatabaseRules } from '../shared-registry/rules.js';
import { trustsAllStarts } from './server-mutants.js';

function withDatabase(database: Partial<DatabaseRules>): Rules {
  return { ...PROFILE, database: { ...PROFILE.database, ...database } };
}

function withSent(sent: (statement: Statement, process: Process) => Statement): Rules {
  return withDatabase({ link: { ...PROFILE.database.link, sent } });
}

/** An engine whose sessions are changed as they are opened. */
function withSession(change: (session: Session) => void): Rules {
  class ChangedEngine extends Engine {
    readonly #changed = new WeakSet<Session>();

    override async session(): Promise<Session> {
      const session = await super.session();
      if (!this.#changed.has(session)) {
        this.#changed.add(session);
        change(session);
      }
      return session;
    }
  }
  return withDatabase({ Engine: ChangedEngine });
}

/** A read writes nothing to the database's log, so that its commit waits for nobody. */
const PLAIN = 'SELECT false AS emitted, (extract(epoch FROM clock_timestamp()) * 1000)::double precision AS now';
const readsPlainly = withSent((statement) => (statement.name === 'barrier' ? { name: 'plain', text: PLAIN } : statement));

/** What was decided last under these keys, whatever came of it. */
interface Attempted<T> {
  readonly keys: Keys;
  readonly result: T;
}

class TakesDoubtForFailure extends PostgresStorage {
  override async write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    try {
      return await super.write(keys, decide);
    } catch (error) {
      throw error instanceof InDoubt ? new Unavailable(error.message) : error;
    }
  }
}

class TakesDoubtForSuccess extends PostgresStorage {
  override async write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    let attempted: Attempted<T> | undefined;
    try {
      return await super.write(keys, (found) => {
        const outcome = decide(found);
        attempted = { keys, result: outcome.result };
        return outcome;
      });
    } catch (error) {
      if (error instanceof InDoubt && attempted !== undefined) return attempted.result;
      throw error;
    }
  }
}

/** What this server has decided of a node is what it reads of it, until the node is another. */
class ReadsKeptRows extends PostgresStorage {
  readonly #kept = new Map<number, { readonly row: NodeRow; readonly version: object }>();

  override write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return super.write(keys, (found) => {
      const outcome = decide(found);
      for (const [idI, row] of outcome.put?.nodes ?? []) this.#kept.set(idI, { row, version: {} });
      return outcome;
    });
  }

  override async read(keys: Keys): Promise<Snapshot> {
    const found = await super.read(keys);
    const kept = this.#kept;
    return new Proxy(found, {
      get: (target, property) => {
        if (property === 'node') return (idI: number) => (target.node(idI) && kept.get(idI)) ?? target.node(idI);
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      },
    });
  }
}

class ForgetsWhatItSaw extends SimulatedLastSeen {
  override get seen(): Seen | undefined {
    return undefined;
  }
}

/** A server that shows a time before it is kept. */
class KeepsTimeLater extends SimulatedServer {
  protected override prepare(registry: Registry): void {
    super.prepare(registry);
    const save = registry.saveClockHistory.bind(registry);
    registry.saveClockHistory = (change, ...given) => {
      save(change, ...given).catch(() => undefined);
      return Promise.resolve(change(registry.clockHistory));
    };
  }
}

/** The lock of all writes counts as held. Each of the two rules by itself keeps M3 back. */
const ignoresLateWrites: Rules = {
  ...withSession((session) => {
    for (const name of ['lockHeldAt', 'lockHeldWallMs']) Object.defineProperty(session, name, { get: () => Infinity, set() {} });
  }),
  Server: KeepsTimeLater,
};

export const SHARED_REGISTRY_MUTANTS: readonly { readonly name: string; readonly rules: Rules }[] = [
  { name: 'read without barrier', rules: readsPlainly },
  { name: 'doubt taken for failure', rules: withDatabase({ Storage: TakesDoubtForFailure }) },
  { name: 'doubt taken for success', rules: withDatabase({ Storage: TakesDoubtForSuccess }) },
  { name: 'M8 from a kept row', rules: withDatabase({ Storage: ReadsKeptRows }) },
  { name: 'lost entries not noticed', rules: withDatabase({ LastSeen: ForgetsWhatItSaw }) },
  { name: 'reads answered while a late write may be on its way, and times shown that are not kept', rules: ignoresLateWrites },
  { name: 'a break of the clock missed at a start', rules: trustsAllStarts },
  {
    name: 'standby names emptied not noticed',
    rules: withSession((session) => {
      session.standbyFault = () => undefined;
    }),
  },
  {
    name: 'cancelled wait for the standby not noticed',
    rules: withDatabase({ link: { ...PROFILE.database.link, hearsWarnings: false } }),
  },
];
