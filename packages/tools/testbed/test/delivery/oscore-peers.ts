/**
 * Foreign programs that speak OSCORE, and the contexts of a node. Debian 12 has no such program:
 * `.ci/oscore-peers` unpacks those of Debian 13 into a folder.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Deliverer, KeySnapshot } from '@latchkey/key-delivery/targets';
import { formatId } from '@latchkey/protocol';
import { createLog } from '@latchkey/runtime/daemon';
import { type DeliveryWorld, until } from './delivery-world.js';
import { applicationKey, type FeedGeneration } from './key-feed.js';

const PEERS = process.env['LATCHKEY_OSCORE_PEERS'] ?? '/var/tmp/latchkey-oscore-peers';
const AIOCOAP_PEER = fileURLToPath(new URL('oscore-peer.py', import.meta.url));
const LABELS = ['oscore-master-secret', 'oscore-master-salt'];
const OVERLAP_MS = 15 * 60_000;

/** For `coap-server-openssl`, `coap-client-openssl` and `python3-aiocoap`. */
export const OSCORE_ENV: NodeJS.ProcessEnv = { PATH: `${join(PEERS, 'bin')}:${process.env['PATH'] ?? ''}` };

const succeeds = (command: string): boolean =>
  spawnSync('sh', ['-c', command], { env: { ...process.env, ...OSCORE_ENV } }).status === 0;

export const hasLibcoapWithOscore: boolean = succeeds("coap-client-openssl 2>&1 | grep -q '(Have OSCORE)'");
export const hasAiocoap: boolean = succeeds('python3-aiocoap -c "import aiocoap.oscore"');

/** A client with the context in a folder. Returns the answer, or why there is none. */
export type OscoreClient = (world: DeliveryWorld, context: string, port: number) => Promise<string>;

export const libcoapClient: OscoreClient = async (world, context, port) => {
  const files = [`${context}/oscore.conf`, `${context}/sequence`].join(',');
  const args = ['-B', '5', '-E', files, `coap://127.0.0.1:${port}/`];
  return (await world.run('coap-client-openssl', args, { env: OSCORE_ENV })).output;
};

export const aiocoapClient: OscoreClient = async (world, context, port) => {
  const args = [AIOCOAP_PEER, 'get', context, `coap://127.0.0.1:${port}/`];
  return (await world.run('python3-aiocoap', args, { env: OSCORE_ENV })).output;
};

/** Serves all contexts in a folder. Returns `reload:`. */
export async function startAiocoapServer(world: DeliveryWorld, folder: string, port: number): Promise<readonly string[]> {
  const server = world.start('python3-aiocoap', [AIOCOAP_PEER, 'serve', folder, String(port)], { env: OSCORE_ENV });
  await server.said(/^listens$/m);
  return ['kill', '-HUP', String(server.pid)];
}

/** A node's side: its contexts, written as node-agent writes them. */
export class NodeContexts {
  readonly #idI: number;
  readonly #folder: string;
  readonly #deliverer: Deliverer;
  readonly #generations: FeedGeneration[] = [];

  private constructor(idI: number, folder: string, deliverer: Deliverer) {
    this.#idI = idI;
    this.#folder = folder;
    this.#deliverer = deliverer;
  }

  static async open(world: DeliveryWorld, idI: number, folder: string): Promise<NodeContexts> {
    const target = {
      file: folder,
      format: 'oscore',
      identity: '{id}@{kid}',
      also: [],
      mode: 0o600,
      debounce: 0,
      max_wait: 0,
    } as const;
    const deliverer = await Deliverer.open({
      targets: [target],
      folder: world.path(`state-${formatId(idI)}`),
      holder: 'a test',
      overlap: undefined,
      role: 'node',
      log: await createLog('node', 'error', 'stderr'),
    });
    return new NodeContexts(idI, folder, deliverer);
  }

  /** Writes the context of a new generation, and returns its folder. */
  async renew(generation: FeedGeneration): Promise<string> {
    const idI = this.#idI;
    this.#generations.unshift(generation);
    const keysOf = ({ kid, applicationRoot }: FeedGeneration): { kid: string; keys: Record<string, string> } => ({
      kid,
      keys: Object.fromEntries(LABELS.map((label) => [label, applicationKey(applicationRoot, label, idI)])),
    });
    const times = { notAfter: undefined, until: generation.joined + OVERLAP_MS };
    const former = this.#generations.slice(1).map((one) => Object.assign(keysOf(one), times));
    const snapshot = new KeySnapshot();
    const current = { ...keysOf(generation), joinedAt: generation.joined, notAfter: undefined };
    snapshot.set({ id: formatId(idI), current, former });
    this.#deliverer.replaceSnapshot(snapshot);
    await until(
      () => this.#deliverer.isSettled,
      () => this.#deliverer.fault ?? 'the contexts of a node written',
    );
    return join(this.#folder, `${formatId(idI)}-${generation.kid}`);
  }

  close(): Promise<void> {
    return this.#deliverer.stop();
  }
}
