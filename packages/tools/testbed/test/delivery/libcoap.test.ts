// DTLS-PSK with libcoap's server in both flavours. It reads its keys at its start, as text, so that
// it is restarted. Skipped where libcoap3-bin or openssl is not installed.

import { formatId } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freePort } from '../../src/network.js';
import { DeliveryWorld, isInstalled, until } from './delivery-world.js';
import { identityOf, type NodeIdentity } from './peers.js';

const ID = 0x0000_a1b2;
const LABEL = 'dtls-psk';
/** The key of identities that are not in the file: nobody knows it. */
const NOBODYS_KEY = 'c0ffee00c0ffee00c0ffee00c0ffee00';

let world: DeliveryWorld;
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(() => world.remove());

describe.each(['openssl', 'gnutls'])('libcoap with %s (skipped without libcoap3-bin and openssl)', (flavour) => {
  const isHere = [`coap-server-${flavour}`, `coap-client-${flavour}`, 'openssl'].every(isInstalled);

  it.skipIf(!isHere)('serves a node that renews, with AES-128-CCM-8, and not once it is disabled', async () => {
    const port = Number((await freePort()).split(':')[1]);
    const file = await world.file('identities', []);
    const command = `coap-server-${flavour} -A 127.0.0.1 -p ${port} -k ${NOBODYS_KEY} -i ${file}`;
    const { restart } = await world.supervise('coap', command);
    await world.configure({ label: LABEL, file, format: 'libcoap', reload: restart });
    const first = identityOf(ID, world.feed.renew(ID), LABEL);
    await world.startDeliver();

    const address = `127.0.0.1:${port + 1}`;
    const get = async ({ identity, key }: NodeIdentity): Promise<boolean> => {
      const { output } = await world.run(`coap-client-${flavour}`, [
        '-k',
        key,
        '-u',
        identity,
        '-B',
        '3',
        '-m',
        'get',
        `coaps://${address}/`,
      ]);
      return output.includes('test server made with libcoap');
    };
    const served = (node: NodeIdentity): Promise<void> =>
      until(
        () => get(node),
        () => `${node.identity} served: ${world.deliver?.transcript() ?? ''}`,
      );
    await served(first);
    const second = identityOf(ID, world.feed.renew(ID), LABEL);
    await served(second);
    expect(await get(first)).toBe(true);

    // libcoap takes the hexadecimal digits for the key itself, as ASCII.
    const asText = Buffer.from(second.key).toString('hex');
    const suite = ['-dtls1_2', '-cipher', 'PSK-AES128-CCM8:@SECLEVEL=0'];
    const args = ['s_client', ...suite, '-connect', address, '-psk_identity', second.identity, '-psk', asText];
    const { output } = await world.run('openssl', args);
    expect(output).toContain('Cipher is PSK-AES128-CCM8');

    world.feed.revoke(ID, 'disabled');
    await until(
      async () => !(await get(second)),
      () => `${formatId(ID)} refused`,
    );
    expect(await get(first)).toBe(false);
    expect(await world.text('identities')).toBe('');
  });
});
