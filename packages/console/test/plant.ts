// A registry with nodes in every state, as an installation some weeks old has it.

import { openInstallerStore } from '@latchkey/api/installers';
import { formatId, type Secret } from '@latchkey/protocol';
import { call, moveNodes, nodesSet, setDisabled } from '@latchkey/operations';
import type { DescriptionChange } from '@latchkey/operations/contract';
import { lockFolder } from '@latchkey/runtime/files';
import { AdminFixture, C1, C2, newSecret, TestServer } from '@latchkey/test-support/admin-fixture';
import { onTestFinished } from 'vitest';

const MINUTE = 60_000;
const DAY = 86_400_000;
const CLOCK_WRITTEN_MS = 20_000;

/** Joined through controller 1, and well. */
export const JOINED = 0x1905717b;
/** Its controller never asked for it. */
export const SILENT = 0x000287fd;
/** It asked, and proved nothing. */
export const UNPROVEN = 0x0005214e;
/** It asked, and is not in the registry: one digit of its ID is wrong. */
export const UNKNOWN = 0x0005214f;
/** Nodes of an order that none has joined of, and the first of them. */
export const SECOND_ORDER = 250;
export const SECOND = 0x7a300000;

async function storeInstaller({ registry }: AdminFixture, name: string, at: number): Promise<void> {
  const installers = await openInstallerStore(registry.folder);
  await installers.add({
    id: 'a'.repeat(16),
    name,
    contact: '+49 30 1234',
    site: 'Plant 2',
    note: null,
    recipients: ['age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p'],
    recipientsChanged: { at, by: 'user ada' },
    createdAt: at,
    revision: 1,
  });
  await installers.close();
}

export async function openPlant(): Promise<AdminFixture> {
  const fixture = await AdminFixture.open();
  const now = Date.now();
  const keys = new Map<number, Secret>();
  const draw = (ids: readonly number[]): Record<number, Secret> => {
    const drawn: Record<number, Secret> = {};
    for (const id of ids) {
      drawn[id] = newSecret();
      keys.set(id, drawn[id]);
    }
    return drawn;
  };
  // As an auth-server that serves the registry has it.
  const lock = await lockFolder(fixture.registry.folder, 'latchkey-auth-server run (process 1, since some time)');
  onTestFinished(() => lock.release());
  const expired = [0x00310a11, 0x00310a12];
  const expiring = [0x00411b01, 0x00411b02, 0x00411b03];
  const well = [JOINED, ...Array.from({ length: 18 }, (_, index) => 0x2a000000 + 0x10301 * index)];
  await fixture.order(draw(expired), { installer: 'Ada Installations', lifetime: 86_400, grace: 3_600 });
  await fixture.order(draw(expiring), { installer: 'Ada Installations', lifetime: 86_400, grace: 604_800 });
  await fixture.order(draw([...well, SILENT, UNPROVEN]), { installer: 'Kim & Sons', lifetime: 7_776_000, grace: 604_800 });
  const waiting = Array.from({ length: SECOND_ORDER }, (_, index) => SECOND + 0x1f3 * index);
  await fixture.order(draw(waiting), { installer: 'Bo Electric', idC: C2, lifetime: 7_776_000, grace: 604_800 });
  const key = (id: number): Secret => keys.get(id) ?? newSecret();
  for (const id of expired) await fixture.join(id, key(id), { wall: now - 3 * DAY });
  for (const id of expiring) await fixture.join(id, key(id), { wall: now - DAY + 60 * MINUTE });
  for (const [index, id] of well.entries()) await fixture.join(id, key(id), { wall: now - (120 - 6 * index) * MINUTE });
  await setDisabled(fixture.registry, well.slice(-2), true);
  await moveNodes(fixture.registry, well.slice(4, 7), C2);
  await fixture.testServer(
    async (server) => {
      const exchange = server.exchange(UNPROVEN, key(UNPROVEN), { idC: C1 });
      await server.request(exchange, 'm2');
      await server.request(server.exchange(UNKNOWN, newSecret(), { idC: C1 }), 'm2');
    },
    now - 5 * MINUTE,
  );
  await storeInstaller(fixture, 'Ada Installations', now);
  await describeNode(fixture, UNPROVEN, {
    name: 'Pump 3 <north>',
    site: 'Plant 2',
    location: 'pillar 7',
    tags: ['pump', 'spare'],
  });
  await describeNode(fixture, SILENT, { name: 'Valve 12', site: 'Plant 2', note: 'behind the <b>silo</b>' });
  await writeClock(fixture);
  return fixture;
}

export async function describeNode(fixture: AdminFixture, node: number, description: DescriptionChange): Promise<void> {
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  const context = { registry: fixture.registry, clock, actor: 'user ada' } as const;
  await call(nodesSet, context, { select: { ids: [formatId(node)] }, description });
}

/** As a server does that runs: it writes what its clock shows again and again. */
async function writeClock(fixture: AdminFixture): Promise<void> {
  const server = new TestServer(fixture, Date.now());
  const write = async (): Promise<void> => {
    server.now.wallMs = server.now.monotonicMs = Date.now();
    await server.authServer.persistClock();
  };
  await write();
  const timer = setInterval(() => void write(), CLOCK_WRITTEN_MS);
  onTestFinished(async () => {
    clearInterval(timer);
    await server.authServer.close();
  });
}
