// Real peers whose nodes renew: no handshake fails round a renewal, and none succeeds after a
// revocation. Peers that are not installed here are skipped, and the name of the test says so.

import { formatId } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../../src/process.js';
import { DeliveryWorld, isInstalled, until } from './delivery-world.js';
import { identityOf, type NodeIdentity, type Peer, PEERS, type RunningPeer } from './peers.js';

/** Hundreds of processes on a busy machine. */
const TIMEOUT_MS = 900_000;
const NODES = 6;
const RENEWALS = 6;
const IDS = Array.from({ length: NODES }, (_, index) => 0x0000_a1b0 + index);

let world: DeliveryWorld;
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(() => world.remove());

/**
 * Waits until the peer accepts the key, or refuses it. A peer that is told by a signal to read its
 * file does so some time later: on a busy machine after handshakes that came after the signal.
 */
async function becomes(running: RunningPeer, node: NodeIdentity, isAccepted: boolean): Promise<void> {
  let last = '';
  await until(
    async () => {
      const { ok, output } = await running.handshake(node);
      last = output;
      return ok === isAccepted;
    },
    () => `${node.identity} ${isAccepted ? 'accepted' : 'refused'}: ${last.slice(-2_000)}`,
  );
}

/** Starts peer and `deliver`, with the first key of each node in use. */
async function start(peer: Peer): Promise<{ running: RunningPeer; first: ReadonlyMap<number, NodeIdentity> }> {
  const { label, format } = peer;
  const target = { label, file: world.path('peer.keys'), format };
  // The file is there before the peer starts.
  await world.configure(target);
  expect(await runCommand('controller', ['deliver', '--config', world.path('deliver.yaml'), '--once'])).toMatchObject({
    code: 0,
  });
  const running = await peer.start(world, target.file);
  const hook = await world.program('hook', '$1 $LATCHKEY_REASON');
  const reload = running.reload === undefined ? {} : { reload: running.reload };
  await world.configure({ ...target, ...reload, on_revoke: [hook, '{id}'] });
  await world.startDeliver();
  const first = new Map(IDS.map((idI) => [idI, identityOf(idI, world.feed.renew(idI), label)]));
  await world.feed.delivered();
  await Promise.all(Array.from(first.values(), (node) => becomes(running, node, true)));
  return { running, first };
}

describe.each(PEERS)('$name (skipped without $programs)', (peer) => {
  const isHere = peer.programs.every(isInstalled);

  it.skipIf(!isHere)(`sees ${NODES} nodes renew ${RENEWALS} times, and no handshake fails`, { timeout: TIMEOUT_MS }, async () => {
    const { running, first } = await start(peer);
    const failures: string[] = [];
    let handshakes = 0;
    const shake = async (node: NodeIdentity): Promise<void> => {
      const { ok, output } = await running.handshake(node);
      handshakes += 1;
      if (!ok) failures.push(`${node.identity}: ${output.slice(-2_000)}`);
    };
    // As with `activate_after`, a node goes over to its new key once the peer has it. It goes on
    // with the former key until then, and a lagging part of it even longer.
    const live = async (idI: number): Promise<void> => {
      let before = first.get(idI)!;
      for (let renewal = 0; renewal < RENEWALS; renewal++) {
        const next = identityOf(idI, world.feed.renew(idI), peer.label);
        const { seq } = world.feed;
        do await shake(before);
        while (world.feed.acknowledged < seq);
        await becomes(running, next, true);
        await shake(next);
        await shake(before);
        before = next;
      }
    };
    await Promise.all(IDS.map(live));
    expect(failures).toEqual([]);
    expect(handshakes).toBeGreaterThanOrEqual(NODES * RENEWALS * 3);
  });

  it.skipIf(!isHere)(
    'refuses a disabled node with each of its keys, and on_revoke has run',
    { timeout: TIMEOUT_MS },
    async () => {
      const { running, first } = await start(peer);
      const [idI = 0, other = 0] = IDS;
      const second = identityOf(idI, world.feed.renew(idI), peer.label);
      await world.feed.delivered();
      await becomes(running, second, true);
      for (const node of [first.get(idI)!, second, first.get(other)!])
        expect(await running.handshake(node)).toMatchObject({ ok: true });
      world.feed.revoke(idI, 'disabled');
      await until(
        async () => (await world.text('hook.log')) === `${formatId(idI)} disabled\n`,
        () => world.deliver?.transcript() ?? '',
      );
      for (const node of [first.get(idI)!, second]) await becomes(running, node, false);
      for (const node of [first.get(idI)!, second]) expect(await running.handshake(node)).toMatchObject({ ok: false });
      expect(await running.handshake(first.get(other)!)).toMatchObject({ ok: true });
      // The last node of a file, too: a program may refuse an empty one.
      for (const one of IDS.slice(1)) world.feed.revoke(one, 'removed');
      await world.feed.delivered();
      await becomes(running, first.get(other)!, false);
    },
  );
});
