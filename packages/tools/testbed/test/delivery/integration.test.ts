// docs/INTEGRATION.md is what works: the files and commands of each section run as they stand, with
// paths below a folder of this test, free ports, and a signal in place of systemctl.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runCommand } from '../../src/process.js';
import { DeliveryWorld, isInstalled, tcpPort, until } from './delivery-world.js';
import { identityOf } from './peers.js';

const ID = 0x0000_a1b2;
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
beforeEach(async () => {
  world = await DeliveryWorld.create();
});
afterEach(() => world.remove());

function find({ blocks }: Section, info: string): string {
  const block = blocks.find((one) => one.info === info);
  if (block === undefined) throw new Error(`no block ${info}`);
  return block.text;
}

/** The program that a block of commands begins its last line with. */
const programOf = (text: string): string =>
  /^\w[\w-]*(?= )/.exec(text.replaceAll('\\\n', '').trimEnd().split('\n').at(-1) ?? '')?.[0] ?? '';

it('the document has a section for each program that is shown to work', () => {
  expect(SECTIONS.map(({ title }) => title)).toEqual(['mosquitto', 'hostapd, EAP-PSK', 'stunnel', 'GnuTLS']);
});

describe.each(SECTIONS)('$title (skipped unless installed)', (section) => {
  const [server, client] = [find(section, 'sh server'), find(section, 'sh client')];
  const isHere = [server, client].every((text) => isInstalled(programOf(text)));

  it.skipIf(!isHere)('works as docs/INTEGRATION.md says', async () => {
    const ports = new Map<string, string>();
    for (const port of ['8883', '1812', '8443', '5556']) ports.set(port, String(await tcpPort()));
    const here = (text: string): string =>
      text
        .replaceAll(/\/etc\/[\w./-]+/g, (path) => world.path(basename(path)))
        .replaceAll(/\b(?:8883|1812|8443|5556)\b/g, (port) => ports.get(port) ?? '');
    for (const { info, text } of section.blocks) {
      const [kind, path] = info.split(' ');
      // The service user of the package is not played here.
      if (kind === 'conf')
        await world.file(basename(path ?? ''), [`${here(text)}${path?.endsWith('mosquitto.conf') === true ? 'user root' : ''}`]);
    }
    const {
      owner: _,
      reload,
      ...target
    } = parse(here(find(section, 'yaml target'))) as Record<string, unknown> & { label: string };
    await world.configure(target);
    const node = identityOf(ID, world.feed.renew(ID), target.label);
    expect(await runCommand('controller', ['deliver', '--config', world.path('deliver.yaml'), '--once'])).toMatchObject({
      code: 0,
    });
    const running = world.start('sh', ['-c', `exec ${here(server)}`]);
    await world.configure({ ...target, ...(reload === undefined ? {} : { reload: ['kill', '-HUP', String(running.pid)] }) });
    await world.startDeliver();
    const env = { ID: node.id, IDENTITY: node.identity, KEY: node.key };
    const works = async (): Promise<boolean> => (await world.run('sh', ['-c', here(client)], { env })).code === 0;
    await until(works, () => running.output);
    world.feed.revoke(ID, 'disabled');
    await until(
      async () => !(await works()),
      () => running.output,
    );
  });
});
