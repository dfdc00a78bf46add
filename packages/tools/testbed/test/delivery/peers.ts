/** The servers that read key files, as Debian packages them, and a client of each. */

import { randomBytes } from 'node:crypto';
import { deriveEapPskKeys, deriveEapPskSessionKeys, formatId } from '@latchkey/protocol';
import { type DeliveryWorld, listens, type PeerProcess, tcpPort } from './delivery-world.js';
import { applicationKey, type FeedGeneration } from './key-feed.js';

/** What a node's application presents: the identity and key of one generation. */
export interface NodeIdentity {
  readonly id: string;
  readonly identity: string;
  readonly key: string;
}

export function identityOf(idI: number, { kid, applicationRoot }: FeedGeneration, label: string): NodeIdentity {
  const id = formatId(idI);
  return { id, identity: `${id}@${kid}`, key: applicationKey(applicationRoot, label, idI) };
}

interface Handshake {
  readonly ok: boolean;
  readonly output: string;
}

export interface RunningPeer {
  /** `reload:` of its target. */
  readonly reload: readonly string[] | undefined;
  /** One handshake from nothing, as the node's application makes it. */
  handshake(node: NodeIdentity): Promise<Handshake>;
}

export interface Peer {
  readonly name: string;
  /** All must be installed. */
  readonly programs: readonly string[];
  readonly label: string;
  readonly format: string;
  /** Starts it on the key file `file`, which `deliver` has written. */
  start(world: DeliveryWorld, file: string): Promise<RunningPeer>;
}

const hup = (peer: PeerProcess): string[] => ['kill', '-HUP', String(peer.pid)];

/** Each node may publish below its own ID, and nowhere else. */
const mosquitto: Peer = {
  name: 'mosquitto',
  programs: ['mosquitto', 'mosquitto_pub'],
  label: 'mqtt-psk',
  format: 'psk',
  async start(world, file) {
    const port = await tcpPort();
    const config = await world.file('mosquitto.conf', [
      `listener ${port} 127.0.0.1`,
      'user root',
      'psk_hint latchkey',
      `psk_file ${file}`,
      'use_identity_as_username true',
      'log_dest stderr',
    ]);
    const broker = world.start('mosquitto', ['-c', config]);
    await listens(port);
    return {
      reload: hup(broker),
      async handshake({ id, identity, key }) {
        const line = ['-h', '127.0.0.1', '-p', String(port), '--psk-identity', identity, '--psk', key];
        const { code, output } = await world.run('mosquitto_pub', [...line, '-q', '1', '-t', `nodes/${id}/up`, '-m', 'hello']);
        return { ok: code === 0, output: `${output}${broker.output}` };
      },
    };
  },
};

/** EAP-PSK, hostapd as the RADIUS server and eapol_test as the access point with its client. */
const hostapd: Peer = {
  name: 'hostapd',
  programs: ['hostapd', 'eapol_test'],
  label: 'eap-psk',
  format: 'hostapd',
  async start(world, file) {
    const port = await tcpPort();
    const secret = randomBytes(16).toString('hex');
    const clients = await world.file('radius-clients', [`127.0.0.1 ${secret}`]);
    const config = await world.file('hostapd.conf', [
      'interface=lo',
      'driver=none',
      'eap_server=1',
      `eap_user_file=${file}`,
      `radius_server_clients=${clients}`,
      `radius_server_auth_port=${port}`,
    ]);
    const server = world.start('hostapd', [config]);
    await server.said(/AP-ENABLED|RADIUS server|lo: interface state/);
    return {
      reload: hup(server),
      async handshake({ id, identity, key }) {
        const network = ['network={', 'key_mgmt=IEEE8021X', 'eap=PSK', `identity="${identity}"`, `password=${key}`, '}'];
        const client = await world.file(`eapol-${id}.conf`, network);
        const { output } = await world.run('eapol_test', [
          '-c',
          client,
          '-a',
          '127.0.0.1',
          '-p',
          String(port),
          '-s',
          secret,
          '-t',
          '30',
        ]);
        const isRight = /^SUCCESS$/m.test(output) && hasOurSessionKeys(output, key);
        return { ok: isRight, output: `${server.output}${output}` };
      },
    };
  },
};

/** Whether a handshake came to the keys of RFC 4764 that the protocol's own functions derive. */
function hasOurSessionKeys(output: string, key: string): boolean {
  const said = (name: string): string =>
    (new RegExp(`^EAP-PSK: ${name} - hexdump\\(len=\\d+\\): (.*)$`, 'm').exec(output)?.[1] ?? '').replaceAll(' ', '');
  const { ak, kdk } = deriveEapPskKeys(Buffer.from(key, 'hex'));
  if (said('RAND_P') === '') return false;
  const { tek, msk, emsk } = deriveEapPskSessionKeys(kdk, Buffer.from(said('RAND_P'), 'hex'));
  const ours = { AK: ak.expose(), KDK: kdk.expose(), TEK: tek, MSK: msk, EMSK: emsk };
  return Object.entries(ours).every(([name, octets]) => said(name) === Buffer.from(octets).toString('hex'));
}

/** Holds the listening socket of a program, as a systemd socket unit does. */
const SOCKET_UNIT = `
use Socket;
use POSIX ();
# The sockets that this program opens stay open in the one that it becomes.
BEGIN { $^F = 255 }
socket(my $socket, PF_INET, SOCK_STREAM, 0) or die $!;
setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1) or die $!;
bind($socket, sockaddr_in(shift, INADDR_LOOPBACK)) or die $!;
listen($socket, 128) or die $!;
POSIX::dup2(fileno($socket), 3);
@ENV{'LISTEN_FDS', 'LISTEN_PID'} = (1, $$);
exec @ARGV;
`;

/**
 * TLS-PSK in front of a service without TLS: here it echoes a line. stunnel closes a listening
 * socket of its own when it reloads, which resets the connections that wait in its queue. So it
 * gets one, as docs/INTEGRATION.md says.
 */
const stunnel: Peer = {
  name: 'stunnel',
  programs: ['stunnel', 'openssl', 'perl'],
  label: 'tls-psk',
  format: 'stunnel',
  async start(world, file) {
    const port = await tcpPort();
    const config = await world.file('stunnel.conf', [
      'foreground = yes',
      'pid =',
      'syslog = no',
      '[app]',
      `accept = 127.0.0.1:${port}`,
      'exec = /bin/echo',
      'execArgs = echo served',
      'ciphers = PSK',
      'sslVersionMax = TLSv1.2',
      `PSKsecrets = ${file}`,
    ]);
    const server = world.start('perl', ['-e', SOCKET_UNIT, String(port), 'stunnel', config]);
    await server.said(/Configuration successful/);
    return {
      reload: hup(server),
      handshake: (node) => opensslHandshake(world, port, node, server),
    };
  },
};

/** A client of a server that says `served`. */
async function opensslHandshake(
  world: DeliveryWorld,
  port: number,
  { identity, key }: NodeIdentity,
  server: PeerProcess,
): Promise<Handshake> {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2', '-cipher', 'PSK', '-quiet'];
  const { output } = await world.run('openssl', [...args, '-psk_identity', identity, '-psk', key]);
  return { ok: output.includes('served'), output: `${output}${server.output}` };
}

/** Reads its file at each handshake: nothing is reloaded. */
const gnutls: Peer = {
  name: 'gnutls-serv',
  programs: ['gnutls-serv', 'gnutls-cli'],
  label: 'tls-psk',
  format: 'psk',
  async start(world, file) {
    const port = await tcpPort();
    const priority = ['--priority', 'NORMAL:-KX-ALL:+PSK:+DHE-PSK:+ECDHE-PSK'];
    const server = world.start('gnutls-serv', ['--quiet', '--echo', '-p', String(port), '--pskpasswd', file, ...priority]);
    await listens(port);
    return {
      reload: undefined,
      async handshake({ identity, key }) {
        const user = ['--pskusername', identity, '--pskkey', key];
        const { code, output } = await world.run('gnutls-cli', [...user, ...priority, '-p', String(port), '127.0.0.1']);
        return { ok: code === 0, output: `${output}${server.output}` };
      },
    };
  },
};

/**
 * node:tls with `pskCallback` of @latchkey/keys, on the same socket as `deliver`; it reads no file.
 */
const nodeTls: Peer = {
  name: 'node:tls',
  programs: ['openssl'],
  label: 'tls-psk',
  format: 'jsonl',
  async start(world) {
    const port = await tcpPort();
    const program = await world.file('server.mjs', [
      `import { createServer } from 'node:tls';`,
      `import { pskCallback } from '${new URL('../../../../keys/dist/index.js', import.meta.url).href}';`,
      `const callback = await pskCallback({ label: 'tls-psk', socket: '${world.feed.path}' });`,
      `createServer({ ciphers: 'PSK', maxVersion: 'TLSv1.2', pskCallback: callback }, (socket) => socket.end('served')).listen(${port});`,
    ]);
    const server = world.start(process.execPath, [program]);
    await listens(port);
    return { reload: undefined, handshake: (node) => opensslHandshake(world, port, node, server) };
  },
};

export const PEERS: readonly Peer[] = [mosquitto, hostapd, stunnel, gnutls, nodeTls];
