// docs/INTEGRATION.md is what works: the files and commands of each section run as they stand, with
// paths below a folder of this test, free ports, and signals in place of systemctl.

import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runCommand } from '../../src/process.js';
import { freePort } from '../../src/network.js';
import { DeliveryWorld, isInstalled, tcpPort, until } from './delivery-world.js';
import { hasLibcoapWithOscore, NodeContexts, OSCORE_ENV } from './oscore-peers.js';
import { identityOf } from './peers.js';

const ID = 0x0000_a1b2;
const TCP_PORTS = ['8883', '1812', '8443', '5556', '4433'];
/** CoAP's, and that of CoAP over DTLS, which is the next one. */
const COAP_PORTS = ['5683', '5684'];
const PORT = new RegExp(`\\b(?:${[...TCP_PORTS, ...COAP_PORTS].join('|')})\\b`, 'g');
/** A folder of a program. */
const FOLDER = /\/(?:etc|var\/lib)\/[\w-]+/g;
/** Where the node's own targets write. */
const NODE_FOLDER = '/var/lib/node-oscore';
const TEXT = readFileSync(fileURLToPath(new URL('../../../../../docs/INTEGRATION.md', import.meta.url)), 'utf8');

interface Block {
  /** `yaml target`, `sh server`, `conf PATH` */
  readonly info: string;
  readonly text: string;
}

interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

const SECTIONS: readonly Section[] = TEXT.split(/^## /m)
  .slice(1)
  .map((text) => ({
    title: text.slice(0, text.indexOf('\n')),
    blocks: [...text.matchAll(/^```(\S.*)\n([^]*?)^```$/gm)].map(([, info = '', body = '']) => ({ info, text: body })),
  }))
  .filter(({ blocks }) => blocks.length > 0);

let world: DeliveryWorld;
let nodeContexts: NodeContexts | undefined;
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(async () => {
  await nodeContexts?.close();
  nodeContexts = undefined;
  await world.remove();
});

function find({ blocks }: Section, info: string): string {
  const block = blocks.find((one) => one.info === info);
  if (block === undefined) throw new Error(`no block ${info}`);
  return block.text;
}

/** The program that a block of commands begins its last line with. */
const programOf = (text: string): string =>
  /^\w[\w-]*(?= )/.exec(text.replaceAll('\\\n', '').trimEnd().split('\n').at(-1) ?? '')?.[0] ?? '';

it('the document has a section for each program that is shown to work', () => {
  expect(SECTIONS.map(({ title }) => title)).toEqual([
    'mosquitto',
    'hostapd, EAP-PSK',
    'stunnel',
    'GnuTLS',
    'openssl s_server',
    'libcoap',
    'OSCORE',
  ]);
});

describe.each(SECTIONS)('$title (skipped unless installed)', (section) => {
  const [server, client] = [find(section, 'sh server'), find(section, 'sh client')];
  const isOscore = section.title === 'OSCORE';
  const isHere = isOscore ? hasLibcoapWithOscore : [server, client].every((text) => isInstalled(programOf(text)));

  it.skipIf(!isHere)('works as docs/INTEGRATION.md says', async () => {
    const ports = new Map<string, string>();
    for (const port of TCP_PORTS) ports.set(port, String(await tcpPort()));
    const coapPort = Number((await freePort()).split(':')[1]);
    for (const [index, port] of COAP_PORTS.entries()) ports.set(port, String(coapPort + index));
    const here = (text: string): string =>
      text.replaceAll(FOLDER, (path) => world.path(path.slice(1))).replaceAll(PORT, (port) => ports.get(port) ?? '');
    for (const [path] of section.blocks.flatMap(({ info, text }) => [...`${info} ${text}`.matchAll(FOLDER)]))
      await mkdir(here(path), { recursive: true });
    for (const { info, text } of section.blocks) {
      const [kind, path = ''] = info.split(' ');
      // The service user of the package is not played here.
      if (kind !== 'conf') continue;
      await mkdir(dirname(world.path(path.slice(1))), { recursive: true });
      await world.file(path.slice(1), [`${here(text)}${path.endsWith('mosquitto.conf') ? 'user root' : ''}`]);
    }
    const {
      owner: _,
      reload,
      ...target
    } = parse(here(find(section, 'yaml target'))) as Record<string, unknown> & { label?: string; reload?: string[] };
    await world.configure(target);
    const generation = world.feed.renew(ID);
    const node = identityOf(ID, generation, target.label ?? 'oscore-master-secret');
    if (isOscore) await (nodeContexts = await NodeContexts.open(world, ID, here(NODE_FOLDER))).renew(generation);
    expect(await runCommand('controller', ['deliver', '--config', world.path('deliver.yaml'), '--once'])).toMatchObject({
      code: 0,
    });
    const env = isOscore ? OSCORE_ENV : {};
    const running = await world.supervise('server', here(server), { env });
    const [, verb] = reload ?? [];
    const signal = { reload: running.reload, restart: running.restart }[verb ?? ''];
    await world.configure({ ...target, ...(signal === undefined ? {} : { reload: signal }) });
    await world.startDeliver();
    const variables = { ID: node.id, IDENTITY: node.identity, KEY: node.key };
    const works = async (): Promise<boolean> =>
      (await world.run('sh', ['-c', here(client)], { env: { ...env, ...variables } })).code === 0;
    await until(works, () => running.process.output);
    world.feed.revoke(ID, 'disabled');
    await until(
      async () => !(await works()),
      () => running.process.output,
    );
  });
});
