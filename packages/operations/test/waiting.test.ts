// IDs that controllers asked for and that are not in the registry.

import { call, type Context, waitingDismiss, waitingList } from '../src/index.js';
import { readClock } from '@latchkey/runtime/daemon';
import { AdminFixture, C1, newSecret } from '@latchkey/test-support/admin-fixture';
import { expect, it } from 'vitest';

const contextOf = ({ registry }: AdminFixture): Context => ({ registry, clock: readClock, actor: registry.actor });

/** What a server writes of IDs that a controller asks for. */
function knock({ registry }: AdminFixture, ids: readonly number[], at: number): Promise<void> {
  const rejected = { since: at, at, count: 1, refusal: 'unknownNode' as const, by: C1 };
  return registry.storage.recordActivity({ nodes: ids.map((idI) => [idI, { rejected }] as const), controllers: [] });
}

it.each(['LMDB', 'memory'] as const)(
  'are listed by pages with the nodes that may be meant, and dismissed, on %s',
  async (engine) => {
    const fixture = await AdminFixture.open(engine);
    const context = contextOf(fixture);
    // One digit of 12345678 is another one, two neighbours changed places, two digits are others.
    await fixture.order({
      0x1234_5677: newSecret(),
      0x1324_5678: newSecret(),
      0xff34_5678: newSecret(),
      0xffff_ffff: newSecret(),
    });
    await knock(fixture, [0x1234_5678, 0x1234_5679], 1_000);
    await knock(fixture, [0xffff_fffe, 0x1234_5678, 0x1234_5677], 5_000);
    const seen = {
      controller: '00000001',
      since: '1970-01-01T00:00:05.000Z',
      last_seen_at: '1970-01-01T00:00:05.000Z',
      count: 1,
    };
    const first = await call(waitingList, context, { limit: 2 });
    expect(first).toEqual({
      items: [
        { ...seen, id: '12345678', since: '1970-01-01T00:00:01.000Z', count: 2, similar: ['12345677', '13245678'] },
        {
          ...seen,
          id: '12345679',
          since: '1970-01-01T00:00:01.000Z',
          last_seen_at: '1970-01-01T00:00:01.000Z',
          similar: ['12345677'],
        },
      ],
      next: '12345679',
      total: 3,
    });
    const last = { items: [{ ...seen, id: 'fffffffe', similar: ['ffffffff'] }], next: null, total: 3 };
    expect(await call(waitingList, context, { limit: 2, after: '12345679' })).toEqual(last);

    // A node of the registry is no stranger, and what was seen of it stays.
    expect(await call(waitingDismiss, context, { ids: ['12345678', '12345678', '12345677'] })).toEqual({ dismissed: 1 });
    const found = await fixture.registry.storage.read({ nodeActivity: [0x1234_5677] });
    expect(found.nodeActivity(0x1234_5677)).toBeDefined();
    const ids = async (): Promise<string[]> => (await call(waitingList, context, { limit: 9 })).items.map(({ id }) => id);
    expect(await ids()).toEqual(['12345679', 'fffffffe']);

    // One that is imported waits no more; one that is asked for again waits again.
    await fixture.order({ 0x1234_5679: newSecret() });
    await knock(fixture, [0x1234_5678], 9_000);
    expect(await ids()).toEqual(['12345678', 'fffffffe']);
  },
);
