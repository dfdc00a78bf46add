/** The peers, as Debian packages them. Keys and identities here are of this measurement alone. */

import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '@latchkey/testbed';
import type { ReferenceProgram } from './reference-server.js';

const PRIVATE = { mode: 0o600 } as const;
const KEY = randomBytes(16).toString('hex');

async function port(): Promise<number> {
  return Number((await freePort()).split(':')[1]);
}

/** DTLS 1.2 with a PSK, then one GET: `coap-server` listens for DTLS one port higher. */
function libcoap(library: 'openssl' | 'gnutls'): ReferenceProgram {
  return {
    name: `libcoap, ${library}: DTLS-PSK handshake and one request`,
    packages: ['libcoap3-bin'],
    server: `coap-server-${library}`,
    client: `coap-client-${library}`,
    async prepare() {
      const plain = await port();
      return { args: ['-A', '127.0.0.1', '-p', String(plain), '-k', KEY], port: plain + 1 };
    },
    clientArgs: (_, to) => Promise.resolve(['-k', KEY, '-u', 'node', '-B', '5', '-m', 'get', `coaps://127.0.0.1:${to}/`]),
    success: /test server made with libcoap/,
  };
}

const RADIUS_SECRET = randomBytes(16).toString('hex');

/**
 * hostapd as a RADIUS server with EAP-PSK in it; what is counted is the leg between the
 * authenticator and it.
 */
const hostapd: ReferenceProgram = {
  name: 'hostapd: EAP-PSK over RADIUS',
  packages: ['hostapd', 'eapoltest'],
  server: 'hostapd',
  client: 'eapol_test',
  async prepare(folder) {
    const listen = await port();
    const [users, clients, config] = ['users', 'clients', 'hostapd.conf'].map((name) => join(folder, name));
    await writeFile(users ?? '', `"node" PSK ${KEY}\n`, PRIVATE);
    await writeFile(clients ?? '', `127.0.0.1 ${RADIUS_SECRET}\n`, PRIVATE);
    const lines = ['interface=lo', 'driver=none', 'eap_server=1', `eap_user_file=${users}`];
    const radius = [`radius_server_clients=${clients}`, `radius_server_auth_port=${listen}`];
    await writeFile(config ?? '', `${[...lines, ...radius].join('\n')}\n`, PRIVATE);
    return { args: [config ?? ''], port: listen };
  },
  async clientArgs(folder, to) {
    const config = join(folder, 'eapol_test.conf');
    const network = ['key_mgmt=IEEE8021X', 'eap=PSK', 'identity="node"', `password=${KEY}`];
    await writeFile(config, `network={\n${network.map((line) => `  ${line}\n`).join('')}}\n`, PRIVATE);
    return ['-c', config, '-a', '127.0.0.1', '-p', String(to), '-s', RADIUS_SECRET, '-t', '5'];
  },
  success: /^SUCCESS$/m,
};

export const REFERENCE_PROGRAMS: readonly ReferenceProgram[] = [libcoap('openssl'), libcoap('gnutls'), hostapd];
