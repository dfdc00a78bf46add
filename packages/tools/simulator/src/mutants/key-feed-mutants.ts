/** Auth-servers and controllers that break one rule of the key feed each. */

import type { Keyring } from '@latchkey/keyring';
import { KeyFeedClient, type KeyFeedDecision } from '@latchkey/protocol';
import type { FeedSource } from '@latchkey/registry/memory';
import { PROFILE, type Rules } from '../rules.js';
import { SimulatedServer } from '../server.js';
import { SimulatedKeyStore, type StoreOperation } from '../simulated-key-store.js';
import { SimulatedStorage } from '../simulated-storage.js';

/** A server whose key feed reads the registry otherwise. */
function withSource(read: (source: FeedSource) => Partial<FeedSource>): Rules {
  class Storage extends SimulatedStorage {
    protected override feedSource(keyring: Keyring): FeedSource {
      const source = super.feedSource(keyring);
      const changed = read(source);
      return new Proxy(source, {
        get: (target, name) => {
          const value: unknown = Reflect.get(name in changed ? changed : target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    }
  }
  class Server extends SimulatedServer {
    protected override newStorage(): SimulatedStorage {
      return this.plan.registry.newStorage(this.process, Storage);
    }
  }
  return { ...PROFILE, Server };
}

/** A controller that takes the answers of the key feed otherwise. */
function withClient(Client: typeof KeyFeedClient): Rules {
  return { ...PROFILE, roles: { ...PROFILE.roles, keyFeedClient: (options) => new Client(options) } };
}

const givesDisabled = withSource((source) => ({
  node: (idI) => {
    const { disabled: _, ...row } = source.node(idI) ?? {};
    return source.node(idI) && (row as ReturnType<FeedSource['node']>);
  },
}));

/** Of a node that was moved away or removed a controller is told nothing. */
const tellsNoneThatLeft = withSource(() => ({ former: () => undefined }));

/** Cursors from before a restore go on counting. */
const keepsIncarnation = withSource(() => ({ incarnation: 1 }));

/** What changed is told a part at a time, of which only the first is. */
const skipsChanges = withClient(
  class extends KeyFeedClient {
    override receive(octets: Uint8Array, monotonicMs: number): KeyFeedDecision {
      const decision = super.receive(octets, monotonicMs);
      if (decision.kind !== 'page' || decision.page.retains !== undefined) return decision;
      return { kind: 'page', page: { ...decision.page, entries: decision.page.entries.slice(0, 1) } };
    }
  },
);

const isAlwaysVerified = withClient(
  class extends KeyFeedClient {
    override isVerified(): boolean {
      return true;
    }
  },
);

/** A join that arrives while an M12 is under way hides all that its answer says of the node. */
const skipsWhatJoined = withClient(
  class extends KeyFeedClient {
    override joined(idI: number, tid: bigint): boolean {
      return super.joined(idI, tid) && super.joined(idI, 2n ** 64n - 1n);
    }
  },
);

/** A join counts, though the registry was read after it began, and may have lost it. */
const takesJoinsOfBefore = withClient(
  class extends KeyFeedClient {
    override joined(idI: number, tid: bigint): boolean {
      super.joined(idI, tid);
      return true;
    }
  },
);

/** Of a walk only what it lists counts, and not what it leaves out. */
const keepsWhatIsNotListed = withClient(
  class extends KeyFeedClient {
    override receive(octets: Uint8Array, monotonicMs: number): KeyFeedDecision {
      const decision = super.receive(octets, monotonicMs);
      return decision.kind === 'page' ? { kind: 'page', page: { ...decision.page, retains: undefined } } : decision;
    }
  },
);

/** A late join counts, whatever the registry has told of its node since. */
class TakesLateJoins extends SimulatedKeyStore {
  protected override apply(operation: StoreOperation): void {
    if (operation.kind === 'join') {
      const row = this.rows.get(operation.joined.idI);
      if (row !== undefined) this.rows.set(operation.joined.idI, { ...row, entryTid: -1n });
    }
    super.apply(operation);
  }
}

/** How far the feed was followed is on the disk before the keys are. */
class WritesCursorFirst extends SimulatedKeyStore {
  override applyPage(...[page, progress]: Parameters<SimulatedKeyStore['applyPage']>): Promise<void> {
    this.progress = progress;
    return super.applyPage(page, progress);
  }
}

export const KEY_FEED_MUTANTS: readonly { readonly name: string; readonly rules: Rules }[] = [
  { name: "a disabled node's key told as current", rules: givesDisabled },
  { name: 'nodes that left a controller not told to it', rules: tellsNoneThatLeft },
  { name: 'a restore not noticed by the key feed', rules: keepsIncarnation },
  { name: 'keys never marked unverified', rules: isAlwaysVerified },
  { name: 'only the first change of an answer applied', rules: skipsChanges },
  { name: 'what the feed says of a node that just joined skipped, and not asked again', rules: skipsWhatJoined },
  { name: 'a join from before the registry was read given out', rules: takesJoinsOfBefore },
  { name: 'nodes that a walk leaves out kept', rules: keepsWhatIsNotListed },
  { name: 'a late join given out, whatever the feed said since', rules: { ...PROFILE, KeyStore: TakesLateJoins } },
  { name: 'cursor of the key feed stored before its keys', rules: { ...PROFILE, KeyStore: WritesCursorFirst } },
];
