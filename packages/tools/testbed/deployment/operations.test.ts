// Runs the commands of docs/OPERATIONS.md, "From unpacking to a joined node", as they stand there,
// on machines with systemd.

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab, type Machine, missingForMachines } from './machine.js';
import { releaseDebs } from './released.js';

const TITLE = '## From unpacking to a joined node';
const ID_IN_THE_TEXT = '1905717b';
const [SERVER, CONTROLLER, DEVICE] = ["the auth-server's gateway", "the controller's gateway", 'the device'] as const;
const ADDRESSES = { [SERVER]: '192.0.2.7/24', [CONTROLLER]: '192.0.2.1/24', [DEVICE]: '192.0.2.20/24' } as const;

interface Block {
  readonly place: keyof typeof ADDRESSES;
  readonly commands: readonly string[];
}

/** What the section has one type where, in its order. */
async function readBlocks(): Promise<Block[]> {
  const text = await readFile(fileURLToPath(new URL('../../../../docs/OPERATIONS.md', import.meta.url)), 'utf8');
  const section = text.slice(text.indexOf(TITLE) + TITLE.length).split(/^## /m)[0] ?? '';
  const blocks: { place: Block['place']; commands: string[] }[] = [];
  let place: Block['place'] | undefined;
  let before = '';
  for (const line of section.split('\n')) {
    const named = /^\*\*On (.+?)\*\*/.exec(line)?.[1];
    if (named !== undefined) {
      if (!(named in ADDRESSES)) throw new Error(`no machine is ${named}`);
      place = named as Block['place'];
    }
    if (line.startsWith('    ')) {
      if (place === undefined) throw new Error(`where is this to be typed? ${line}`);
      if (before === '') blocks.push({ place, commands: [] });
      blocks.at(-1)?.commands.push(line.trim());
    }
    before = line;
  }
  return blocks;
}

const why = missingForMachines();

describe.skipIf(why !== undefined)(`docs/OPERATIONS.md${why === undefined ? '' : ` SKIPPED: ${why}`}`, () => {
  let lab: Lab | undefined;
  const machines = new Map<string, Machine>();
  const machine = (place: Block['place']): Machine => {
    const found = machines.get(place);
    if (found === undefined) throw new Error(`${place} has not booted`);
    return found;
  };

  beforeAll(async () => {
    const made = (lab = await Lab.create());
    const folder = join(made.folder, 'release');
    await releaseDebs(folder);
    for (const [place, address] of Object.entries(ADDRESSES)) {
      const booted = await made.boot(place.replaceAll(/\W+/g, '-'), address);
      machines.set(place, booted);
      for (const name of await readdir(folder)) if (name.endsWith('.deb')) await booted.receive(join(folder, name), name);
    }
  });
  afterAll(() => lab?.remove());

  it('takes two gateways and a device from packages to a key of its own, by the commands as they stand', async () => {
    const blocks = await readBlocks();
    expect(blocks.map(({ place }) => place)).toEqual([SERVER, CONTROLLER, DEVICE, DEVICE, SERVER]);
    const said: string[] = [];
    let id = '';
    for (const [i, { place, commands }] of blocks.entries()) {
      for (const command of commands) said.push(await machine(place).must(command.replaceAll(ID_IN_THE_TEXT, id)));
      if (i === 0) {
        await carry('controller-1.json', 'controller-1.json', CONTROLLER);
        await carry('for-kim/manifest.csv', 'manifest.csv', DEVICE);
        id = (await machine(SERVER).must('sed -n 2p for-kim/manifest.csv')).slice(0, 8);
      }
      // systemd starts an agent; that it has joined comes a little later, and the text goes on to
      // ask.
      if (i === 2) await joined();
    }
    expect(id).toMatch(/^[0-9a-f]{8}$/);
    const all = said.join('\n');
    expect(await machine(DEVICE).must('journalctl -u latchkey-node-agent -o cat')).toContain('"msg":"joined"');
    expect(all).toContain(id);
    expect(await statusOf()).toMatchObject({ status: 'joined', key: (await show(id))['key'] });
  });

  it('left daemons that run, with what systemd holds them to', async () => {
    for (const [place, unit] of [
      [SERVER, 'latchkey-auth-server'],
      [CONTROLLER, 'latchkey-controller'],
    ] as const) {
      const properties = await machine(place).must(`systemctl show ${unit} -p ActiveState,NRestarts,StatusText,Type`);
      expect(properties).toContain('ActiveState=active');
      expect(properties).toContain('Type=notify');
      expect(properties).toContain('NRestarts=0');
    }
    expect(await machine(DEVICE).must('systemctl show latchkey-node-agent-join -p Result,NRestarts')).toContain('Result=success');
  });

  it('left no key where others could read it', async () => {
    for (const place of [SERVER, CONTROLLER, DEVICE] as const) {
      const open = await machine(place).must(
        'find -L /var/lib/latchkey /var/lib/private/latchkey /etc/credstore -type f -perm /077 2>/dev/null || true',
      );
      expect(open).toBe('');
    }
  });

  async function carry(from: string, name: string, to: Block['place']): Promise<void> {
    await machine(to).receive(`/proc/${machine(SERVER).pid}/root/root/${from}`, name);
  }

  async function statusOf(): Promise<Record<string, unknown>> {
    const text = await machine(DEVICE).must('latchkey-node-agent status --state /var/lib/latchkey/node-agent --json');
    return JSON.parse(text) as Record<string, unknown>;
  }

  async function show(id: string): Promise<Record<string, unknown>> {
    const text = await machine(SERVER).must(`latchkey-auth-server node show ${id} --data /var/lib/latchkey/auth-server --json`);
    return JSON.parse(text) as Record<string, unknown>;
  }

  async function joined(): Promise<void> {
    await expect.poll(async () => (await statusOf())['status'], { timeout: 300_000, interval: 500 }).toBe('joined');
  }
});
