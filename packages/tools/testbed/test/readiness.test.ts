// `/readyz` tells the truth while a clock makes every join fail: the controller's, or the
// auth-server's. Real processes, clocks that are off.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CAN_INJECT_FAULTS, FaultInjector } from '../src/fault-injector.js';
import { freePort, TestNetwork } from '../src/network.js';
import { get, httpOf, pollUntil } from './http.js';

const FIRST = '00000001';
const SECOND = '00000002';
const FIVE_MINUTES_MS = 300_000;
/**
 * By how much the server finds the clocks apart: five minutes, and the time that the request was on
 * its way, which on a busy machine is seconds.
 */
const ABOUT_FIVE_MINUTES = String.raw`by (?:2[4-9]\d|3[0-5]\d) s$`;

/** What `/readyz` says of the checks that are not well. */
async function faultsAt(where: string): Promise<Record<string, string>> {
  const { status, text } = await get(where, '/readyz');
  const { checks } = JSON.parse(text) as { checks: Record<string, string> };
  const faults = Object.fromEntries(Object.entries(checks).filter(([, finding]) => finding !== 'ok'));
  expect(status).toBe(Object.keys(faults).length === 0 ? 200 : 503);
  return faults;
}

const untilReady = (where: string): Promise<unknown> =>
  pollUntil(
    () => faultsAt(where),
    (faults) => Object.keys(faults).length === 0,
  );

describe.skipIf(!CAN_INJECT_FAULTS)('readiness while a clock makes every join fail (needs gcc)', () => {
  let network: TestNetwork;
  let server: string;
  /** Where each of them serves health. */
  const at: Record<string, string> = {};
  let clocks: Record<'server' | typeof FIRST | typeof SECOND, FaultInjector>;
  /** Of one node of each controller. */
  const nodes: Record<string, string> = {};

  beforeEach(async () => {
    network = await TestNetwork.create();
    server = await freePort();
    clocks = {
      server: FaultInjector.create(network, 'server'),
      [FIRST]: FaultInjector.create(network, FIRST),
      [SECOND]: FaultInjector.create(network, SECOND),
    };
    const daemon = network.start(
      'auth-server',
      ['run', '--data', network.registry, '--listen', server, '--http', '127.0.0.1:0'],
      clocks.server.environment,
    );
    at['server'] = await httpOf(daemon);
    // Only joins tell of clocks here, and not each question about keys.
    const config = await network.file('controller.yaml', 'key_feed: 1h\n');
    for (const id of [FIRST, SECOND] as const) {
      const address = await freePort();
      await network.addController(id, address, [server]);
      const args = [
        'run',
        '--credential',
        network.credential(id),
        '--state',
        network.path(`controller-${id}`),
        '--listen',
        address,
        '--config',
        config,
      ];
      at[id] = await httpOf(network.start('controller', [...args, '--http', '127.0.0.1:0'], clocks[id].environment));
      const { manifest, lines } = await network.order({ controller: id, count: 1 });
      nodes[id] = await network.install((lines[0]?.idI ?? 0).toString(16).padStart(8, '0'), manifest);
    }
  });
  afterEach(async () => {
    for (const faults of Object.values(clocks)) faults.close();
    await network.remove();
  });

  const join = (id: string): Promise<{ code: number | null }> => network.try('node-agent', ['join', '--state', nodes[id]!]);

  it.each([FIVE_MINUTES_MS, -FIVE_MINUTES_MS])("a controller's, by %i ms", async (ms) => {
    clocks[FIRST].setClock(ms);
    expect(await faultsAt(at[FIRST]!)).toEqual({});
    expect((await join(FIRST)).code).toBe(1);
    const ofController = { clock: expect.stringContaining("this machine's clock and the auth-server's differ") as string };
    expect(await faultsAt(at[FIRST]!)).toEqual(ofController);
    // The server cannot know whose is wrong, and nobody joins.
    const ofServer = { clock: expect.stringMatching(`that of the only controller that asks, ${ABOUT_FIVE_MINUTES}`) as string };
    expect(await faultsAt(at['server']!)).toEqual(ofServer);
    expect(await network.try('controller', ['health', '--ready', '--http', at[FIRST]!])).toMatchObject({ code: 1 });

    // With another controller whose clock agrees it does know.
    expect((await join(SECOND)).code).toBe(0);
    await untilReady(at['server']!);
    expect(await faultsAt(at[SECOND]!)).toEqual({});
    expect(await faultsAt(at[FIRST]!)).toEqual(ofController);

    clocks[FIRST].setClock(0);
    await untilReady(at[FIRST]!);
    expect((await join(FIRST)).code).toBe(0);
    expect(await faultsAt(at[FIRST]!)).toEqual({});
  });

  it("the auth-server's, set forward: it knows that it is its own, and all are well once a join succeeded", async () => {
    expect((await join(SECOND)).code).toBe(0);
    clocks.server.setClock(FIVE_MINUTES_MS);
    for (const id of [FIRST, SECOND]) expect((await join(id)).code).toBe(1);
    for (const id of [FIRST, SECOND]) expect(Object.keys(await faultsAt(at[id]!))).toEqual(['clock']);
    expect(await faultsAt(at['server']!)).toEqual({
      clock: expect.stringMatching(`that of all 2 controllers that ask, ${ABOUT_FIVE_MINUTES}`) as string,
    });
  });

  it("the auth-server's, set back: nothing is committed, which all say whose joins come to nothing", async () => {
    clocks.server.setClock(-10_000);
    await pollUntil(
      () => faultsAt(at['server']!),
      ({ clock }) => clock === 'no key is committed: the clock was set back less than five minutes ago',
    );
    expect(await faultsAt(at[FIRST]!)).toEqual({});
    expect((await join(FIRST)).code).toBe(1);
    expect(await faultsAt(at[FIRST]!)).toEqual({
      auth_server: expect.stringContaining('the auth-server commits no keys now') as string,
    });
  });
});
