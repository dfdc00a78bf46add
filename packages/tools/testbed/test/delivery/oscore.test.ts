// OSCORE with peers of others: libcoap and aiocoap speak with each other, each on the contexts that
// `deliver` and a node's targets write. Skipped without them; .ci/oscore-peers unpacks both.

import { formatId } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../src/network.js';
import { DeliveryWorld, until } from './delivery-world.js';
import {
  aiocoapClient,
  hasAiocoap,
  hasLibcoapWithOscore,
  libcoapClient,
  NodeContexts,
  OSCORE_ENV,
  type OscoreClient,
  startAiocoapServer,
} from './oscore-peers.js';

const TIMEOUT_MS = 600_000;
const SERVED = /served by aiocoap|test server made with libcoap/;

interface Pair {
  readonly idI: number;
  readonly client: OscoreClient;
  readonly port: number;
  /** Whether the server has the former context of a node, too. */
  readonly keepsFormer: boolean;
}

let world: DeliveryWorld;
const nodes = new Map<number, NodeContexts>();
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(async () => {
  for (const node of nodes.values()) await node.close();
  nodes.clear();
  await world.remove();
});

describe('OSCORE (skipped without libcoap with OSCORE and aiocoap)', () => {
  it.skipIf(!hasLibcoapWithOscore || !hasAiocoap)(
    'is spoken by libcoap and aiocoap through a renewal, until the nodes are disabled',
    { timeout: TIMEOUT_MS },
    async () => {
      const [aiocoapPort = 0, libcoapPort = 0] = await Promise.all(
        [0, 1].map(async () => Number((await freePort()).split(':')[1])),
      );
      // Each node has one client: a context counts its sequence numbers in one place.
      const pairs: readonly Pair[] = [
        { idI: 0x0000_a1b0, client: libcoapClient, port: aiocoapPort, keepsFormer: true },
        { idI: 0x0000_a1b1, client: aiocoapClient, port: libcoapPort, keepsFormer: false },
      ];
      for (const { idI } of pairs) nodes.set(idI, await NodeContexts.open(world, idI, await world.directory(formatId(idI))));

      const ofAiocoap = await world.directory('aiocoap');
      const ofLibcoap = await world.directory('libcoap');
      // coap-server-openssl has one context.
      const newest = `$(ls -t ${ofLibcoap}/0000a1b1-*/oscore.conf | head -n 1)`;
      const command = `coap-server-openssl -A 127.0.0.1 -p ${libcoapPort} -E "${newest},${newest}.sequence"`;
      const libcoap = await world.supervise('libcoap', command, { env: OSCORE_ENV });
      await world.configure(
        { file: ofAiocoap, format: 'oscore', reload: await startAiocoapServer(world, ofAiocoap, aiocoapPort) },
        { file: ofLibcoap, format: 'oscore', reload: libcoap.restart },
      );
      await world.startDeliver();

      let answer = '';
      const isServed = async ({ client, port }: Pair, context: string): Promise<boolean> => {
        answer = await client(world, context, port);
        return SERVED.test(answer);
      };
      const served = (pair: Pair, context: string, expected = true): Promise<void> =>
        until(
          async () => (await isServed(pair, context)) === expected,
          () => `${context} ${expected ? 'served' : 'refused'}: ${answer}\n${world.deliver?.transcript() ?? ''}`,
        );
      const renew = async ({ idI }: Pair): Promise<string> => (await nodes.get(idI)?.renew(world.feed.renew(idI))) ?? '';

      for (const pair of pairs) {
        const first = await renew(pair);
        await served(pair, first);
        const second = await renew(pair);
        await served(pair, second);
        await served(pair, second);
        await served(pair, first, pair.keepsFormer);
        world.feed.revoke(pair.idI, 'disabled');
        await served(pair, second, false);
        expect(await isServed(pair, first)).toBe(false);
      }
    },
  );
});
