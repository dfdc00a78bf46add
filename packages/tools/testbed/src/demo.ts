/** The demo: the draft's steps 1 to 5 on loopback, told as they happen. */

import { randomBytes } from 'node:crypto';
import { deriveApplicationKey, deriveApplicationRoot, formatId, type Secret } from '@latchkey/protocol';
import { formatTable } from '@latchkey/runtime/cli';
import type { ManifestLine } from '@latchkey/provisioning';
import { freePort, type TestNetwork, type Order } from './network.js';
import type { DaemonProcess, LogLine } from './process.js';

const CONTROLLER = '00000001';
const LABEL = 'demo';

/** Who sends each message to whom, in the order of an exchange. */
const MESSAGES: Readonly<Record<string, readonly [way: string, what: string]>> = {
  M1: ['node -> controller', 'I am ID_i, here is a random number RN_i'],
  M2: ['controller -> auth-server', 'who is this? with a random number RN_c of mine'],
  M3: ['auth-server -> controller', "the node's key"],
  M4: ['controller -> node', 'RN_i and RN_c, sealed with your key: I know it'],
  M5: ['node -> controller', 'RN_c, sealed with the new key: so do I'],
  M7: ['controller -> auth-server', "the node's own proof: replace its key"],
  M8: ['auth-server -> controller', 'done, and on the disk'],
  M6: ['controller -> node', 'done: drop your old key'],
};

type Print = (text?: string) => void;

export interface DemoOutcome {
  /** Whether node and server hold the same new key for each node. */
  readonly isSame: boolean;
  /** Where the auth-server listens. */
  readonly server: string;
}

/** Plays the demo. Auth-server and controller still run afterwards. */
export async function demo(network: TestNetwork, print: Print): Promise<DemoOutcome> {
  print('Latchkey demo: three devices trade the key their installer knows for one of their own\n');

  print('1. The administrator adds a controller and orders three nodes from two installers');
  const [server, controller] = [await freePort(), await freePort()];
  await network.addController(CONTROLLER, controller, [server]);
  const device = await manufacture(network);
  const orders = [
    await network.order({ controller: CONTROLLER, count: 2, installer: 'Ada', sharedKey: true }),
    await network.order({ controller: CONTROLLER, count: 1, installer: 'Kim', deviceKeys: device.list }),
  ];
  print('   Ada gets 2 nodes that share one initial key; keys last 30 days');
  print('   Kim gets 1 node with one half of its initial key; the manufacturer has put the other half into the device\n');

  print('2. The auth-server has stored the same: ID, controller and initial key of each node');
  print(indent(await nodeTable(network)));

  print('3. The installers put ID, controller and initial key into the devices');
  for (const { line, manifest } of installations(orders)) {
    await network.install(formatId(line.idI), manifest);
    const what = formatId(line.idI) === device.id ? "installer's half of its initial key" : 'initial key';
    print(`   node ${formatId(line.idI)}: controller ${CONTROLLER} at ${controller}, ${what} ${String(line.ik)}`);
  }
  print();

  print('4. The network is up; each node knows where its controller is');
  const daemons = [await network.startAuthServer(server), await network.startController(CONTROLLER, controller)];
  print(`   auth-server at ${server} (UDP), controller at ${controller} (UDP), a process each\n`);

  print('5. The nodes join, a process each; a key is shown as the first digits of its fingerprint, never itself\n');
  let isSame = true;
  for (const { line } of installations(orders)) isSame = (await join(network, line, daemons, print)) && isSame;

  print('The registry now');
  print(indent(await nodeTable(network)));
  print(
    isSame
      ? 'Each node and the auth-server hold the same new key. Ada knows none of them unless she listened to the exchange; Kim, with half of an initial key, knows none even then.'
      : 'A node and the auth-server hold different keys: this must not happen.',
  );
  return { isSame, server };
}

/**
 * Puts a device key into a device. Returns its ID, and the file that the manufacturer sends to the
 * administrator.
 */
async function manufacture(network: TestNetwork): Promise<{ readonly id: string; readonly list: string }> {
  const [id, deviceKey] = [randomBytes(4).toString('hex'), randomBytes(16).toString('hex')];
  await network.run('node-agent', ['provision', '--state', network.node(id), '--device-key-file', '-'], deviceKey);
  return { id, list: await network.file('device-keys.csv', `id,device_key\n${id},${deviceKey}\n`) };
}

function installations(orders: readonly Order[]): { readonly line: ManifestLine; readonly manifest: string }[] {
  return orders.flatMap(({ lines, manifest }) => lines.map((line) => ({ line, manifest })));
}

async function join(network: TestNetwork, line: ManifestLine, daemons: readonly DaemonProcess[], print: Print): Promise<boolean> {
  const id = formatId(line.idI);
  const serverBefore = await serverKey(network, line.idI);
  const node = network.start('node-agent', ['run', '--state', network.node(id), '--log-level', 'debug']);
  const joined = await node.waitFor(({ msg }) => msg === 'joined');
  await node.stop();
  const serverAfter = await serverKey(network, line.idI);

  print(`   node ${id}`);
  const exchange = [...node.lines, ...daemons.flatMap(({ lines }) => lines)].filter((log) => belongs(log, node.lines[0]));
  const sent = exchange.filter(({ msg }) => msg === 'sent');
  for (const [message, [way, what]] of Object.entries(MESSAGES)) {
    const octets = Number(sent.find((log) => log['message'] === message)?.['octets']);
    print(`     ${message}  ${way.padEnd(25)}  ${String(octets).padStart(3)} octets   ${what}`);
  }
  const began = sent.find((log) => log['message'] === 'M1')?.time ?? joined.time;
  print(`     key on the node    ${String(joined['keyBefore'])} -> ${String(joined['key'])}`);
  print(`     key on the server  ${serverBefore.fingerprint} -> ${serverAfter.fingerprint}`);
  print(`     ${Date.parse(joined.time) - Date.parse(began)} ms from M1 until the new key was on the node's disk\n`);

  const derivedThere = await network.run('node-agent', ['key', '--state', network.node(id), '--label', LABEL]);
  const derivedHere = deriveApplicationKey(deriveApplicationRoot(serverAfter, line.idI), LABEL, line.idI);
  return (
    derivedThere.trim() === Buffer.from(derivedHere).toString('hex') &&
    !serverAfter.equals(serverBefore) &&
    !serverAfter.equals(line.ik)
  );
}

/** Lines from the moment the node started: the demo joins one node at a time. */
function belongs(log: LogLine, first: LogLine | undefined): boolean {
  return first !== undefined && log.time >= first.time;
}

async function serverKey(network: TestNetwork, idI: number): Promise<Secret> {
  const registry = await network.openRegistry();
  try {
    const node = await registry.node(idI);
    if (node === undefined) throw new Error(`node ${formatId(idI)} is not in the registry`);
    return node.key;
  } finally {
    await registry.close();
  }
}

async function nodeTable(network: TestNetwork): Promise<string> {
  const json = await network.run('auth-server', ['node', 'list', '--data', network.registry, '--json']);
  const nodes = JSON.parse(json) as { id: string; state: string; controller: string; key: string; expires_at: string | null }[];
  return formatTable(
    ['NODE', 'STATE', 'CONTROLLER', 'KEY', 'EXPIRES'],
    nodes.map(({ id, state, controller, key, expires_at }) => [id, state, controller, key, expires_at ?? '-']),
  );
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '   ');
}
