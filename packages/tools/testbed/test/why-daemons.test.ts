// Proves for daemons that are silent or wrong, by real processes, that `node why` names which one
// since when, and that the next step works as it is
// printed. What is wrong with nodes: why.test.ts, which has also the list of causes.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, type TestContext, vi } from 'vitest';
import { CAN_INJECT_FAULTS, FaultInjector } from '../src/fault-injector.js';
import type { CommandResult, DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { type Advice, adviceIn, causeIn, clocksOff, Desk, mustBe, type Step, until } from './desk.js';
import { CONTROLLER } from './fixtures.js';

const MINUTE = 60_000;

vi.setConfig({ testTimeout: 15 * MINUTE });

/** A network in which each daemon is started, and ended, by the test. */
class Site {
  readonly network: TestNetwork;
  readonly serverAddress: string;
  readonly address: string;
  readonly desk: Desk;
  server: DaemonProcess | undefined;
  controller: DaemonProcess | undefined;
  #orders = 0;

  private constructor(network: TestNetwork, serverAddress: string, address: string, desk: Desk) {
    this.network = network;
    this.serverAddress = serverAddress;
    this.address = address;
    this.desk = desk;
  }

  static async open({ onTestFinished }: Pick<TestContext, 'onTestFinished'>): Promise<Site> {
    const network = await TestNetwork.create();
    onTestFinished(() => network.remove());
    const [serverAddress, address] = [await freePort(), await freePort()];
    await network.addController(CONTROLLER, address, [serverAddress]);
    return new Site(network, serverAddress, address, await Desk.open(network, 'one', network.path('no-node')));
  }

  async startServer(environment?: NodeJS.ProcessEnv): Promise<DaemonProcess> {
    const args = ['run', '--data', this.network.registry, '--listen', this.serverAddress];
    this.server = this.network.start('auth-server', args, environment);
    await this.server.listening();
    return this.server;
  }

  async startController(environment?: NodeJS.ProcessEnv, ...more: readonly string[]): Promise<DaemonProcess> {
    const { network } = this;
    const args = ['run', '--credential', network.credential(CONTROLLER), '--state', network.path('controller')];
    this.controller = network.start('controller', [...args, '--listen', this.address, ...more], environment);
    await this.controller.listening();
    return this.controller;
  }

  /** Orders nodes and installs them. */
  async nodes(count: number, ...more: readonly string[]): Promise<string[]> {
    this.#orders += 1;
    const out = this.network.path(`order-${this.#orders}`);
    const args = ['order', 'create', '--installer', 'Kim', '--controller', CONTROLLER, '--count', String(count), '--out', out];
    await this.admin(...args, ...more);
    const manifest = join(out, 'manifest.csv');
    const ids = [...(await readFile(manifest, 'utf8')).matchAll(/^[0-9a-f]{8}(?=,)/gm)].map(([id]) => id);
    for (const id of ids) await this.network.install(id, manifest);
    return ids;
  }

  admin(...args: readonly string[]): Promise<string> {
    return this.network.run('auth-server', [...args, '--data', this.network.registry]);
  }

  async join(id: string): Promise<number | null> {
    return (await this.network.try('node-agent', ['join', '--state', this.network.node(id)])).code;
  }

  async joinAll(ids: readonly string[]): Promise<void> {
    for (const id of ids) mustBe(await this.join(id), 0);
  }

  /** A node whose initial key is given out again may have to wait a while. */
  async untilJoined(id: string): Promise<void> {
    await until(
      'it joins',
      () => this.join(id),
      (code) => code === 0,
    );
  }

  /** A device that joins or renews, whether or not that is due. */
  agent(id: string): DaemonProcess {
    return this.network.start('node-agent', ['join', '--state', this.network.node(id)]);
  }

  /** The controller was last heard so long ago. */
  async ageController(ms: number): Promise<void> {
    const registry = await this.network.openRegistry();
    const { controllerActivity } = registry.tables;
    const [idC, seen] = [Number.parseInt(CONTROLLER, 16), await registry.controllerActivity(Number.parseInt(CONTROLLER, 16))];
    const heard = seen?.lastSeen && { ...seen.lastSeen, at: seen.lastSeen.at - ms, since: seen.lastSeen.since - ms };
    await registry.tables.write(() => controllerActivity.putSync(idC, { ...seen, lastSeen: heard }));
    await registry.close();
  }

  /**
   * The clock of the server showed the times from an hour ago until in an hour, and was then set
   * back.
   */
  async showHours(): Promise<void> {
    const registry = await this.network.openRegistry();
    const now = Date.now();
    const past = [{ from: now - 60 * MINUTE, until: now + 60 * MINUTE }];
    await registry.saveClockHistory((times) => ({ ...times, previous: past }), now);
    await registry.close();
  }

  /** By a process of its own where that is to have another environment, as another clock. */
  #runWhy(id: string, environment: NodeJS.ProcessEnv, ...more: readonly string[]): Promise<CommandResult> {
    const args = ['node', 'why', id, '--data', this.network.registry, ...more];
    if (Object.keys(environment).length === 0) return this.network.try('auth-server', args);
    return this.desk.paste(`latchkey-auth-server ${args.join(' ')}`, 'desk', environment);
  }

  async cause(id: string, environment: NodeJS.ProcessEnv = {}): Promise<string> {
    return causeIn(await this.#runWhy(id, environment, '--json'));
  }

  /** What `node why` prints once it names the cause. */
  async why(id: string, cause: string, environment: NodeJS.ProcessEnv = {}): Promise<Advice> {
    await until(
      `the cause is ${cause}`,
      () => this.cause(id, environment),
      (found) => found === cause,
    );
    return adviceIn((await this.#runWhy(id, environment)).stdout);
  }

  /**
   * Starts the server as the line that was printed does, with the options that it is run with here.
   */
  async startAs({ line }: Step): Promise<void> {
    const words = line.split(' ');
    mustBe(words, ['latchkey-auth-server', 'run', '--data', this.network.registry]);
    this.server = this.network.start('auth-server', [...words.slice(1), '--listen', this.serverAddress]);
    await this.server.listening();
  }

  /** Waits until every node should have renewed its key. */
  async untilLate(ids: readonly string[]): Promise<void> {
    const late = async (): Promise<number> =>
      (JSON.parse(await this.admin('node', 'list', '--json', '--state', 'expiring', '--state', 'expired')) as unknown[]).length;
    await until('nodes are late', late, (count) => count >= ids.length);
  }
}

/** Nodes that never joined, and nodes that should have renewed by now. */
const STAGES = [
  ['nodes that never joined', false],
  ['nodes that are late', true],
] as const;

describe.each(STAGES)('%s', (_, joined) => {
  /** One daemon of each, and nodes as far as the stage has them. */
  async function open(
    context: TestContext,
    count = 1,
    runsController = true,
  ): Promise<{ site: Site; ids: string[]; first: string }> {
    const site = await Site.open(context);
    await site.startServer();
    if (runsController) await site.startController();
    const ids = await site.nodes(count, '--lifetime', joined ? '2s' : '30d');
    if (joined) {
      await site.joinAll(ids);
      await site.untilLate(ids);
    }
    return { site, ids, first: ids[0]! };
  }

  it.concurrent('server-silent: the auth-server does not run, since when, and how many nodes are late', async (context) => {
    const { site, ids, first } = await open(context, 2);
    const before = Date.now();
    await site.server!.stop();
    const { text, steps } = await site.why(first, 'server-silent');
    const [, seenAt = ''] = /the auth-server does not run\. It was last seen at (\S+)\./.exec(text) ?? [];
    expect(Math.abs(before - Date.parse(seenAt))).toBeLessThan(5 * MINUTE);
    expect(text).toContain(
      joined ? '2 of the 2 joined nodes of the registry should have renewed by now.' : 'No node of the registry has joined.',
    );
    expect(steps).toHaveLength(1);
    await site.startAs(steps[0]!);
    await site.joinAll(ids);
  });

  it.concurrent('server-silent: the controller that has the registry inside does not run', async (context) => {
    const site = await Site.open(context);
    const config = await site.network.file('combined.yaml', `mode: combined\nregistry: ${site.network.registry}\n`);
    await site.startController(undefined, '--config', config);
    const [first = ''] = await site.nodes(1, '--lifetime', joined ? '2s' : '30d');
    if (joined) {
      await site.joinAll([first]);
      await site.untilLate([first]);
    }
    await site.controller!.stop();
    const { text } = await site.why(first, 'server-silent');
    expect(text).toContain('the controller that has the registry inside does not run');
    expect(text).toContain('Start the controller');
    await site.startController(undefined, '--config', config);
    await site.joinAll([first]);
  });

  it.concurrent('controller-silent: the controller does not run', async (context) => {
    const { site, ids, first } = await open(context, 2, joined);
    await site.controller?.stop();
    // Late nodes of a controller that runs ask every 10 minutes.
    if (joined) await site.ageController(12 * MINUTE);
    const { text, steps, instead } = await site.why(first, 'controller-silent');
    const [wanted, lines] = joined
      ? [
          /its controller 00000001 is silent since 2\S+Z\. 2 of the 2 joined nodes of that controller should have renewed by now\./,
          0,
        ]
      : // The device may as well be what is silent.
        [/Its controller 00000001 was never heard\. A controller that runs asks .+ at its start\. No node of that controller/, 1];
    expect(text).toMatch(wanted);
    expect([steps.length, instead.length]).toEqual([lines, 0]);
    // A node that never joined is not sent to its device either, where others are late.
    const [waiting = ''] = await site.nodes(1);
    ids.push(waiting);
    const other = await site.why(waiting, 'controller-silent');
    expect(other.steps.length).toBe(lines);
    expect(text).toContain(
      `Look at controller ${CONTROLLER}, at ${site.address}: does it run, and what does its log say of the auth-server at ${site.serverAddress}?`,
    );
    await site.startController();
    await site.joinAll(ids);
  });

  it.concurrent('controller-key: the controller has another SK_cs', async (context) => {
    const { site, first } = await open(context);
    const credential = site.network.credential(CONTROLLER);
    await site.controller!.stop();
    const good = await readFile(credential, 'utf8');
    await writeFile(credential, good.replace(/"sk_cs": "[0-9a-f]{32}"/, `"sk_cs": "${'0123456789abcdef'.repeat(2)}"`));
    await site.startController();
    const agent = site.agent(first);
    const { text, steps } = await site.why(first, 'controller-key');
    await agent.stop('SIGKILL');
    expect(text).toContain('requests of its controller 00000001 do not open since ');
    expect(steps).toHaveLength(1);
    await site.desk.follow(steps);
    expect(text).toContain('./controller-00000001.json in the place of its credential. Then send the controller SIGHUP');
    await rename(join(site.desk.folder, 'controller-00000001.json'), credential);
    site.controller!.signal('SIGHUP');
    await site.controller!.waitFor(({ msg }) => msg === 'credential read anew');
    await site.untilJoined(first);
  });

  it.concurrent.for([
    ['behind', -100_000],
    ['ahead of', 100_000],
  ] as const)('clock: that of the controller is %s that of the auth-server', async ([side, wallMs], context) => {
    const { site, first } = await open(context);
    await site.controller!.stop();
    await site.startController(clocksOff({ wallMs }));
    expect(await site.join(first)).toBe(1);
    const { text, steps } = await site.why(first, 'clock');
    expect(text).toMatch(new RegExp(`^The clock of controller 00000001 is \\d+ s ${side} the clock of the auth-server, since 2`));
    expect(steps).toEqual([]);
    expect(await site.admin('controller', 'show', CONTROLLER)).toMatch(/^clock +\d+ s (?:behind|ahead) since 2/m);
    await site.controller!.stop();
    await site.startController();
    expect(await site.join(first)).toBe(0);
    // It is right since the first request: `controller show` went on saying that it was off.
    await until(
      'no clock is off',
      () => site.admin('controller', 'show', CONTROLLER),
      (shown) => !/^clock /m.test(shown),
    );
  });

  it.concurrent('clock-set-back: no key is committed for five minutes', async (context) => {
    const site = await Site.open(context);
    await site.startServer(clocksOff({ wallMs: 60 * MINUTE }));
    await site.startController();
    const [first = ''] = await site.nodes(1, '--lifetime', joined ? '2s' : '30d');
    if (joined) {
      await site.controller!.stop();
      await site.startController(clocksOff({ wallMs: 60 * MINUTE }));
      await site.joinAll([first]);
    }
    await site.server!.stop();
    const before = Date.now();
    await site.startServer();
    await site.controller!.stop();
    await site.startController();
    // The key that it got in an hour is not late yet: it is told that it could not be renewed.
    const { text, steps, instead } = await site.why(first, joined ? 'joined' : 'clock-set-back');
    const [, until = ''] = /before (2\S+Z): the clock of the auth-server was set back/.exec(text) ?? [];
    expect(Date.parse(until) - before).toBeGreaterThan(3 * MINUTE);
    expect(text).toContain(`Wait until ${until}.`);
    expect([steps, instead]).toEqual([[], []]);
    // As long after that as it says, by both clocks.
    const after = clocksOff({ wallMs: 6 * MINUTE, steadyMs: 6 * MINUTE });
    for (const stop of [site.server!, site.controller!]) await stop.stop();
    await site.startServer(after);
    await site.startController(after);
    await site.untilJoined(first);
  });

  it.concurrent('clock-set-back: the clock shows what it has shown before', async (context) => {
    const { site, first } = await open(context);
    await site.server!.stop();
    await site.showHours();
    await site.startServer();
    const agent = site.agent(first);
    await site.server!.waitFor(({ msg }) => msg.startsWith('refused: its TS is of a time that the clock showed before'));
    await agent.stop('SIGKILL');
    const { text, instead } = await site.why(first, 'clock-set-back');
    expect(text).toMatch(/^Wait until 2\S+\.$/m);
    expect(instead).toHaveLength(1);
    const [released] = await site.desk.follow(instead);
    expect(released?.stdout).toContain('Keys are committed from ');
    await site.untilJoined(first);
  });

  it.skipIf(!CAN_INJECT_FAULTS)(
    'store: the disk of the registry takes no writes (needs Linux and gcc)',
    { concurrent: true },
    async (context) => {
      const { site, first } = await open(context);
      await site.server!.stop();
      const faults = FaultInjector.create(site.network, 'disk');
      context.onTestFinished(() => faults.close());
      await site.startServer(faults.environment);
      faults.setDisk('fails');
      expect(await site.join(first)).toBe(1);
      // What is seen of a node is not written either. What the clock shows is due each half minute.
      const { text, steps } = await site.why(first, 'store', clocksOff({ wallMs: 3 * MINUTE, steadyMs: 3 * MINUTE }));
      expect(text).toContain('the auth-server runs, but has written nothing to the registry since ');
      expect([text.includes('at the disk of the registry'), steps]).toEqual([true, []]);
      faults.setDisk('works');
      await site.untilJoined(first);
    },
  );

  it.concurrent('restored: the registry is from a backup that is older than the key of the node', async (context) => {
    const { site, first } = await open(context);
    const file = site.network.path('registry.lkb');
    await site.admin('backup', file);
    expect(await site.join(first)).toBe(0);
    await site.server!.stop();
    await site.admin('restore', file, '--replace', '--yes');
    await site.startServer();
    // For 35 s nobody gets a key; after that this node's key is not the registry's.
    await until(
      'the node is given another key',
      async () => {
        await site.join(first);
        return site.cause(first);
      },
      (cause) => cause === 'restored',
    );
    const { text, steps } = await site.why(first, 'restored');
    expect(text).toContain('The registry was restored at ');
    expect(steps).toHaveLength(2);
    const desk = await Desk.open(site.network, 'other', site.network.node(first));
    await desk.follow(steps);
    await site.untilJoined(first);
  });
});
