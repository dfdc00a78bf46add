/** `pnpm demo --console`: the network goes on with more nodes, and a browser shows it. */

import { formatId } from '@latchkey/protocol';
import { formatManifest } from '@latchkey/provisioning';
import { formatCommandLine } from '@latchkey/runtime/cli';
import { freePort, freeTcpPort, type Order, type TestNetwork } from './network.js';
import { commandLine, type DaemonProcess } from './process.js';

const HALL = '00000002';
const YARD = '00000003';
const USER = 'ada';
/** Keys of the hall are renewed about every minute, so that something happens. */
const HALL_LIFETIME = '80s';
/** Nodes of the hall that are well. */
const WELL_NODES = 4;
const YARD_NODES = 12;

type Print = (text?: string) => void;

export interface DemoConsole {
  /** Signs in, once. */
  readonly link: string;
  readonly api: DaemonProcess;
  /** The node that was given the initial key of another one. */
  readonly mixedUp: string;
}

/**
 * Adds a hall whose nodes renew their keys, and a yard that is switched off. Serves the console.
 *
 * @param server where the auth-server of the demo listens
 */
export async function demoConsole(network: TestNetwork, server: string, print: Print): Promise<DemoConsole> {
  print('\n6. A larger plant, for the console');
  const [hall, yard] = [await freePort(), await freePort()];
  await network.addController(HALL, hall, [server], '--name', 'Hall', '--site', 'North hall');
  await network.addController(YARD, yard, [server], '--name', 'Yard', '--site', 'Yard');
  await network.startController(HALL, hall);
  const order = await network.order({
    controller: HALL,
    count: WELL_NODES + 2,
    installer: 'Bo Electric',
    lifetime: HALL_LIFETIME,
    site: 'North hall',
  });
  await network.order({ controller: YARD, count: YARD_NODES, installer: 'Kim & Sons', site: 'Yard' });
  const mixedUp = await startHall(network, order);
  print(`   ${WELL_NODES} nodes in the hall renew their keys about every minute`);
  print('   a node in the hall lost its power after it joined; another one was given the key of its neighbour');
  print(`   ${YARD_NODES} nodes in the yard, whose controller is switched off\n`);

  const { link, api, place } = await serveConsole(network);
  print('Open this address in a browser of this machine, and choose a password. It is good once, for 15 minutes:');
  print(`\n   ${link}\n`);
  print('Another one:');
  print(`   ${formatCommandLine(['node', ...commandLine('auth-server', ['user', 'link', USER, ...place])])}`);
  print('Ctrl-C ends the demo and removes everything.');
  return { link, api, mixedUp };
}

interface ServedConsole extends Pick<DemoConsole, 'link' | 'api'> {
  /** Options of commands that concern it. */
  readonly place: readonly string[];
}

/** Serves the console of the registry on loopback, to a new administrator. */
export async function serveConsole(network: TestNetwork): Promise<ServedConsole> {
  const config = await network.file('auth-server.yaml', await configuration(network));
  const place = ['--data', network.registry, '--config', config];
  const link = linkIn(await network.run('auth-server', ['user', 'add', USER, ...place, '--role', 'admin']));
  const api = network.start('auth-server', ['api', ...place]);
  await api.waitFor(({ msg }) => msg === 'serving the API to browsers');
  return { link, api, place };
}

/** Returns the ID of the node that was given another one's key. */
async function startHall(network: TestNetwork, { manifest, lines }: Order): Promise<string> {
  const [mixedUp, unpowered, ...well] = lines.map(({ idI }) => formatId(idI));
  const [line, neighbour] = lines;
  if (mixedUp === undefined || unpowered === undefined || line === undefined || neighbour === undefined)
    throw new Error('the hall has too few nodes');
  const wrongManifest = await network.file('mixed-up.csv', formatManifest([{ ...line, ik: neighbour.ik }]));
  await network.install(mixedUp, wrongManifest);
  for (const id of [unpowered, ...well]) await network.install(id, manifest);
  const start = (id: string): DaemonProcess => network.start('node-agent', ['run', '--state', network.node(id)]);
  const withoutPower = start(unpowered);
  for (const node of [withoutPower, ...well.map(start)]) await node.waitFor(({ msg }) => msg === 'joined');
  await withoutPower.stop();
  start(mixedUp);
  const name = (id: string, ...more: readonly string[]): Promise<string> =>
    network.run('auth-server', ['node', 'set', id, ...network.location(), ...more]);
  await name(mixedUp, '--name', 'Pump 3', '--location', 'pillar 7', '--tag', 'pump');
  await name(unpowered, '--name', 'Valve 12', '--tag', 'valve');
  return mixedUp;
}

/** On loopback only. */
async function configuration(network: TestNetwork): Promise<string> {
  const port = await freeTcpPort();
  const browser = { listen: [`127.0.0.1:${port}`], origin: `http://localhost:${port}` };
  // JSON is YAML.
  return `${JSON.stringify({ api: { socket: network.path('api.sock'), browser } })}\n`;
}

function linkIn(text: string): string {
  const [link] = /http:\S+/.exec(text) ?? [];
  if (link === undefined) throw new Error(`no link in: ${text}`);
  return link;
}
