// What every storage engine tells controllers of their nodes' keys. Each engine's own test file
// runs it.

import { KEY_KIND } from '@latchkey/keyring';
import { deriveApplicationRoot } from '@latchkey/protocol';
import { copyOf, MASTER, WALL } from '@latchkey/test-support/registry-fixtures';
import { describe, expect, it } from 'vitest';
import { START_OVER } from '../../src/key-feed.js';
import type { NodeRow } from '../../src/model/rows.js';
import type { Registry } from '../../src/registry.js';
import { nodeRow, orderRow } from './storage-contract.js';

const ID_C = 1;
const OTHER_C = 2;
const NO_TID_COUNTS = 2n ** 64n - 1n;
const COMMITTED = { idC: ID_C, tid: 'ab', ts: WALL, nidI: new Uint8Array(18), lifetime: 0, at: WALL };

function node({ keyring }: Registry, idI: number, more: Partial<NodeRow> = {}): NodeRow {
  return nodeRow({ key: keyring.seal({ kind: KEY_KIND.node, id: idI }, copyOf(MASTER)), ...more });
}

function put(registry: Registry, idI: number, more: Partial<NodeRow>): Promise<void> {
  return registry.write({ nodes: [idI] }, ({ head }) => ({
    result: undefined,
    events: [{ what: 'node moved', node: idI, at: WALL }],
    put: { nodes: [[idI, node(registry, idI, { ...more, entry: head.seq + 1 })]] },
  }));
}

function remove(registry: Registry, idI: number): Promise<void> {
  return registry.write({ nodes: [idI] }, () => ({
    result: undefined,
    events: [{ what: 'node removed', node: idI, at: WALL }],
    remove: { nodes: [idI] },
  }));
}

function order(registry: Registry, number: number, ids: readonly number[]): Promise<void> {
  return registry.write({ nodes: ids }, () => ({
    result: undefined,
    events: [{ what: 'order created', order: number, controller: ID_C, at: WALL }],
    put: { orders: [[number, orderRow()]], nodes: ids.map((idI) => [idI, node(registry, idI, { order: number })] as const) },
  }));
}

/** A controller that asks one registry, or two servers of it in turn. */
class Asker {
  cursor = 0n;
  #tid = 1n;
  #answers = 0;
  readonly #registries: readonly Registry[];

  constructor(...registries: readonly Registry[]) {
    this.#registries = registries;
  }

  ask(cursor: bigint = this.cursor): ReturnType<ReturnType<Registry['keyFeed']>['answer']> {
    const registry = this.#registries[this.#answers++ % this.#registries.length]!;
    return registry.keyFeed().answer({ idC: ID_C, tid: this.#tid++, cursor, wallMs: WALL });
  }

  /**
   * Until there is no more: each answer's nodes, with state and TID, and whose root is the key's.
   */
  async follow(): Promise<string[][]> {
    const pages: string[][] = [];
    for (let more = true; more;) {
      const answer = await this.ask();
      if (answer === 'behind') throw new Error('behind');
      ({ cursor: this.cursor, more } = answer);
      pages.push(
        answer.entries.map(({ idI, state, tid, applicationRoot }) => {
          const isRight = applicationRoot?.equals(deriveApplicationRoot(copyOf(MASTER), idI));
          return `${idI} ${state} ${tid === NO_TID_COUNTS ? 'any' : tid}${isRight === undefined ? '' : ` ${isRight}`}`;
        }),
      );
    }
    return pages;
  }
}

/**
 * @param create a new registry, and the same one as another server opens it; closed with the test
 */
export function keyFeedContract(create: () => Promise<{ readonly registry: Registry; readonly other: Registry }>): void {
  describe('the key feed', () => {
    const IDS = Array.from({ length: 30 }, (_, i) => i);

    it('tells a controller of all its nodes, then of each that changed, as it is', async () => {
      const { registry } = await create();
      const asker = new Asker(registry);
      await order(registry, 1, IDS);
      for (const idI of [0, 1, 2, 3]) await put(registry, idI, { initial: false, committed: COMMITTED });
      expect(await asker.follow()).toEqual([
        ['0', '1', '2', '3'].map((idI) => `${idI} current 171 true`).concat(IDS.slice(4, 12).map((idI) => `${idI} initial 0`)),
        IDS.slice(12, 24).map((idI) => `${idI} initial 0`),
        IDS.slice(24).map((idI) => `${idI} initial 0`),
      ]);

      await put(registry, 2, { initial: false, committed: COMMITTED, controller: OTHER_C });
      await put(registry, 200, { controller: OTHER_C });
      await put(registry, 3, { initial: false, committed: COMMITTED, disabled: true });
      // A reset forgets the commit, and keeps its TID.
      await put(registry, 1, {});
      await put(registry, 1, {});
      expect(await asker.follow()).toEqual([['2 moved any', '3 disabled 171', '1 initial 171']]);
      expect(await asker.follow()).toEqual([[]]);

      await remove(registry, 0);
      // One that is not its any more is not told of again, until it comes back.
      await put(registry, 2, { controller: OTHER_C, disabled: true });
      await order(registry, 2, [300, 301]);
      expect(await asker.follow()).toEqual([['0 removed any'], ['300 initial 0', '301 initial 0']]);
      await put(registry, 2, { initial: false });
      expect(await asker.follow()).toEqual([['2 current 171 true']]);
    });

    it('goes on at another server of the registry, in the middle of a walk too', async () => {
      const { registry, other } = await create();
      await order(registry, 1, IDS);
      const asker = new Asker(registry, other);
      expect((await asker.follow()).flat()).toEqual(IDS.map((idI) => `${idI} initial 0`));
      await put(other, 5, { disabled: true });
      expect(await asker.follow()).toEqual([['5 disabled 0']]);
      await put(registry, 5, {});
      expect(await asker.follow()).toEqual([['5 initial 0']]);
    });

    it('has a controller start over with a cursor that it cannot serve, and refuses one from beyond the log', async () => {
      const { registry } = await create();
      await order(registry, 1, [1]);
      const asker = new Asker(registry);
      await asker.follow();
      const { cursor } = asker;
      expect(await asker.ask(cursor + (1n << 36n))).toEqual(START_OVER);
      expect(await asker.ask((1n << 63n) + 5n)).toEqual(START_OVER);
      expect(await asker.ask(cursor + 99n)).toBe('behind');
      await put(registry, 1, { disabled: true });
      await put(registry, 1, {});
      await registry.storage.pruneAudit((await registry.audit.readHead())!.seq - 1, 100);
      expect(await asker.ask(cursor)).toEqual(START_OVER);
    });
  });
}
