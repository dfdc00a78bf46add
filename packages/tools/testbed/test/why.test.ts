// Proves for nodes, by real processes, that `node why` names the cause, and that the next step
// works as it is printed: each line is
// pasted into a shell, and then the node joins. Daemons that are silent, or wrong:
// why-daemons.test.ts.

import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CAUSES } from '@latchkey/operations/contract';
import type { Registry } from '@latchkey/registry';
import type { CommandResult } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { type Advice, adviceIn, causeIn, Desk, mustBe, until } from './desk.js';
import { CONTROLLER, endpointOf, showNode, showStatus } from './fixtures.js';
import * as peer from './reference-peer.js';

const OTHER = '00000002';
const MINUTE = 60_000;
const TEST_LIMIT_MS = 900_000;

let network: TestNetwork;
let address: string;
let otherAddress: string;
let nodes = 0;

beforeAll(async () => {
  network = await TestNetwork.create();
  const server = await freePort();
  [address, otherAddress] = [await freePort(), await freePort()];
  await network.addController(CONTROLLER, address, [server]);
  await network.addController(OTHER, otherAddress, [server]);
  await network.startAuthServer(server);
  await network.startController(CONTROLLER, address);
  await network.startController(OTHER, otherAddress);
});
afterAll(() => network.remove());

let last: Promise<unknown> = Promise.resolve();

/** Orders and imports are made one at a time: another is refused meanwhile. */
function oneByOne<T>(action: () => Promise<T>): Promise<T> {
  const next = last.then(action);
  last = next.catch(() => undefined);
  return next;
}

/** A device with a node of its own order, the administrator's desk, and what is done at both. */
class Case {
  readonly id: string;
  readonly order: string;
  readonly state: string;
  readonly manifest: string;
  readonly desk: Desk;

  private constructor(id: string, order: string, state: string, manifest: string, desk: Desk) {
    this.id = id;
    this.order = order;
    this.state = state;
    this.manifest = manifest;
    this.desk = desk;
  }

  static async make(joined: boolean, ...more: readonly string[]): Promise<Case> {
    nodes += 1;
    const name = String(nodes);
    const out = network.path(`case-${name}`);
    const args = ['order', 'create', '--installer', 'Kim & Sons', '--controller', CONTROLLER, '--count', '1', '--out', out];
    const made = JSON.parse(
      await oneByOne(() => network.run('auth-server', [...args, ...more, '--json', '--data', network.registry])),
    ) as { order: number; manifest: string };
    const [id = ''] = /^[0-9a-f]{8}(?=,)/m.exec(await readFile(made.manifest, 'utf8')) ?? [];
    const state = await network.install(id, made.manifest);
    const desk = await Desk.open(network, name, state, made.manifest);
    const one = new Case(id, String(made.order), state, made.manifest, desk);
    if (joined) mustBe(await one.join(), 0);
    // What its order says is for the key that it has, not for the next.
    if (joined) await one.admin('node', 'set', one.id, '--lifetime', '30d');
    return one;
  }

  admin(...args: readonly string[]): Promise<string> {
    return network.run('auth-server', [...args, '--data', network.registry]);
  }

  agent(...args: readonly string[]): Promise<string> {
    return network.run('node-agent', [...args, '--state', this.state]);
  }

  async join(): Promise<number | null> {
    return (await network.try('node-agent', ['join', '--state', this.state])).code;
  }

  /** What `node why` prints once it names the cause: a server writes what it sees once a second. */
  async why(cause: string, ...more: readonly string[]): Promise<Advice> {
    await until(
      `the cause is ${cause}`,
      () => this.cause(...more),
      (found) => found === cause,
    );
    const { stdout } = await this.#why(...more);
    mustBe(stdout.includes(this.id), true);
    return adviceIn(stdout);
  }

  /** The same, or `undefined` if it names another cause before or after. */
  async whyAtOnce(cause: string): Promise<Advice | undefined> {
    // What was seen of the node is written by then.
    await pause(2_000);
    const before = await this.cause();
    const { stdout } = await this.#why();
    return before === cause && (await this.cause()) === cause ? adviceIn(stdout) : undefined;
  }

  async cause(...more: readonly string[]): Promise<string> {
    return causeIn(await this.#why(...more, '--json'));
  }

  #why(...more: readonly string[]): Promise<CommandResult> {
    return network.try('auth-server', ['node', 'why', this.id, '--data', network.registry, ...more]);
  }

  /** When its key was last given out, by the clock of the server. */
  async asked(): Promise<number> {
    return (await this.#seen())?.keyRequested?.at ?? 0;
  }

  /**
   * The node asks, and its agent is killed before it gives up by itself: it goes on listening for
   * another answer.
   */
  async attempt(): Promise<void> {
    const before = await this.asked();
    const agent = network.start('node-agent', ['join', '--state', this.state]);
    await until(
      'the key is given out',
      () => this.asked(),
      (at) => at > before,
    );
    await agent.stop('SIGKILL');
  }

  /** What the server saw of the node was so long ago. */
  async age(ms: number): Promise<void> {
    const [registry, idI] = [await network.openRegistry(), Number.parseInt(this.id, 16)];
    try {
      const { rejected } = (await registry.nodeActivity(idI)) ?? {};
      if (rejected === undefined) throw new Error(`node ${this.id} was not refused`);
      const { nodeActivity } = registry.tables;
      await registry.tables.write(() =>
        nodeActivity.putSync(idI, { rejected: { ...rejected, at: rejected.at - ms, since: rejected.since - ms } }),
      );
    } finally {
      await registry.close();
    }
  }

  async refused(): Promise<boolean> {
    return (await this.#seen())?.rejected !== undefined;
  }

  async #seen(): Promise<ReturnType<Registry['nodeActivity']>> {
    const registry = await network.openRegistry();
    try {
      return await registry.nodeActivity(Number.parseInt(this.id, 16));
    } finally {
      await registry.close();
    }
  }

  /** Another key is in the device: it was installed from another manifest. */
  async installOtherKey(): Promise<void> {
    const args = ['install', '--replace', '--state', this.state, '--id', this.id, '--controller', address];
    await network.run('node-agent', [...args, '--controller-id', CONTROLLER, '--ik-file', '-'], randomBytes(16).toString('hex'));
  }

  async reinstall(): Promise<void> {
    await this.agent('install', '--replace', '--manifest', this.manifest, '--id', this.id);
  }
}

/** What a row sets up, and what a person does who reads what is printed. */
interface Row {
  readonly cause: (typeof CAUSES)[number];
  readonly when: string;
  readonly joined: boolean;
  /** Options of its order. */
  readonly order?: readonly string[];
  readonly make: (one: Case) => Promise<void>;
  /** Which of what is printed is followed. */
  readonly instead?: true;
  /** The cause is over within a minute: a machine that is busy may miss it, and makes it again. */
  readonly passes?: true;
  /** How many lines there are to paste. */
  readonly lines: number;
  /** What `node show` and `order show` say then. */
  readonly nodeIs?: object;
  readonly orderIs?: object;
}

const both = (row: Omit<Row, 'joined'>): Row[] => [
  { ...row, joined: false },
  { ...row, joined: true },
];

/** Copies the state of a device onto another, which then renews. */
async function renewCopy(one: Case): Promise<void> {
  const copy = `${one.state}-copy`;
  await cp(one.state, copy, { recursive: true });
  await network.run('node-agent', ['join', '--state', copy]);
  await rm(copy, { recursive: true });
}

/** M5 of a device comes after what happens meanwhile has changed the key in the registry. */
async function proveLate(one: Case, key: Buffer, meanwhile: () => Promise<unknown>): Promise<void> {
  const socket = await peer.RawSocket.open();
  try {
    const node = new peer.PeerNode(socket, { id: Number.parseInt(one.id, 16), key, controllers: [1] });
    node.start();
    expect((await node.sendM1(endpointOf(address)))?.code).toBe('2.04');
    await meanwhile();
    expect((await node.sendM5(endpointOf(address)))?.code).toBe('4.01');
  } finally {
    await socket.close();
  }
}

/** M1 of a device, and no more. */
async function askAndDie(one: Case): Promise<void> {
  const socket = await peer.RawSocket.open();
  try {
    const node = new peer.PeerNode(socket, { id: Number.parseInt(one.id, 16), key: await keyOf(one), controllers: [1] });
    node.start();
    expect((await node.sendM1(endpointOf(address)))?.code).toBe('2.04');
  } finally {
    await socket.close();
  }
}

/** The key that the device holds. */
async function keyOf({ state }: Case): Promise<Buffer> {
  const { confirmed } = JSON.parse(await readFile(join(state, 'node.json'), 'utf8')) as { confirmed: { key: string } };
  return Buffer.from(confirmed.key, 'hex');
}

const nothing = (): Promise<void> => Promise.resolve();

const ROWS: readonly Row[] = [
  ...both({
    cause: 'disabled',
    when: 'it was disabled',
    make: async (one) => {
      await one.admin('node', 'disable', one.id);
      mustBe(await one.join(), 1);
    },
    lines: 1,
  }),
  {
    cause: 'outside-join-window',
    when: 'its order is suspended',
    joined: false,
    make: async (one) => void (await one.admin('order', 'suspend', one.order)),
    lines: 1,
  },
  {
    cause: 'outside-join-window',
    when: 'its order opens in years, and is opened now',
    joined: false,
    order: ['--join-from', '2998-01-01Z', '--join-until', '2999-01-01Z'],
    make: nothing,
    instead: true,
    lines: 1,
    orderIs: { join_from: null, join_until: '2999-01-01T23:59:59.999Z' },
  },
  {
    cause: 'outside-join-window',
    when: 'the join window of its order is over',
    joined: false,
    // No command sets a window that is over.
    make: async (one) => {
      const registry = await network.openRegistry();
      const { orders } = registry.tables;
      const [number, joinUntil] = [Number(one.order), Date.now() - MINUTE];
      const shut = (): void => orders.putSync(number, { ...orders.get(number)!, joinUntil });
      await registry.tables.write(shut);
      await registry.close();
    },
    orderIs: { state: 'open' },
    lines: 1,
  },
  {
    cause: 'outside-join-window',
    when: 'its order is closed for good',
    joined: false,
    order: ['--lifetime', '90d'],
    make: async (one) => void (await one.admin('order', 'close', one.order, '--yes')),
    lines: 2,
    nodeIs: { lifetime_seconds: 7_776_000 },
  },
  {
    cause: 'held-off',
    when: 'it was removed, and imported again with the key that it had',
    passes: true,
    joined: false,
    make: async (one) => {
      await one.admin('node', 'remove', one.id, '--yes');
      await oneByOne(() => one.admin('import', one.manifest));
    },
    lines: 0,
  },
  {
    cause: 'held-off',
    when: 'it was reset to the key that it had',
    passes: true,
    joined: true,
    make: async (one) => {
      await one.reinstall();
      await one.admin('node', 'reset', one.id, '--manifest', one.manifest, '--yes');
    },
    lines: 0,
  },
  {
    cause: 'unknown',
    when: 'it was removed before it joined',
    joined: false,
    make: async (one) => void (await one.admin('node', 'remove', one.id, '--yes')),
    lines: 1,
  },
  {
    cause: 'unknown',
    when: 'it was removed',
    joined: true,
    make: async (one) => {
      await one.admin('node', 'remove', one.id, '--yes');
      mustBe(await one.join(), 1);
    },
    lines: 2,
  },
  ...both({
    cause: 'wrong-controller',
    when: 'it asks another controller, which is the right one',
    make: async (one) => {
      await one.agent('move', '--controller', otherAddress, '--controller-id', OTHER);
      mustBe(await one.join(), 1);
    },
    lines: 2,
    nodeIs: { controller: OTHER },
  }),
  {
    cause: 'wrong-controller',
    when: 'it asks another controller, and knows no ID of the right one',
    joined: false,
    make: async (one) => {
      const args = ['install', '--replace', '--id', one.id, '--controller', otherAddress, '--ik-file', '-'];
      await network.run('node-agent', [...args, '--state', one.state], (await keyOf(one)).toString('hex'));
      mustBe(await one.join(), 1);
    },
    lines: 2,
  },
  ...both({
    cause: 'wrong-controller',
    when: 'it asks another controller, which is the wrong one',
    make: async (one) => {
      await one.agent('move', '--controller', otherAddress, '--controller-id', OTHER);
      mustBe(await one.join(), 1);
    },
    instead: true,
    lines: 1,
    nodeIs: { controller: CONTROLLER },
  }),
  {
    cause: 'expired',
    when: 'its grace is over, and it asks',
    joined: true,
    order: ['--lifetime', '2s', '--grace', '1s'],
    make: async (one) => {
      await one.why('expired');
      mustBe(await one.join(), 1);
      await until('it was refused', () => one.refused(), Boolean);
    },
    // Nobody is sent to the device: its next attempt suffices.
    lines: 1,
  },
  {
    cause: 'expired',
    when: 'its grace is over, and it is switched off',
    joined: true,
    order: ['--lifetime', '2s', '--grace', '1s'],
    make: nothing,
    lines: 2,
  },
  {
    cause: 'expiring',
    when: 'it is switched off, and others of its controller are not',
    joined: true,
    order: ['--lifetime', '2s'],
    make: nothing,
    lines: 1,
  },
  {
    cause: 'never-asked',
    when: 'it is switched off',
    joined: false,
    make: nothing,
    lines: 1,
  },
  ...both({
    cause: 'joining',
    when: 'it asked, and lost its power',
    passes: true,
    make: (one) => askAndDie(one),
    lines: 1,
  }),
  {
    cause: 'proof-missing',
    when: 'it was installed with another key',
    joined: false,
    make: async (one) => {
      await one.installOtherKey();
      await one.attempt();
    },
    lines: 1,
  },
  {
    cause: 'proof-missing',
    when: 'it was installed with another key, and its manifest is lost',
    joined: false,
    make: async (one) => {
      await one.installOtherKey();
      await one.attempt();
    },
    instead: true,
    lines: 2,
  },
  {
    cause: 'proof-missing',
    when: 'it was installed again from its manifest',
    joined: true,
    make: async (one) => {
      await one.reinstall();
      await one.attempt();
    },
    lines: 2,
  },
  {
    cause: 'proof-missing',
    when: 'it was installed again from its manifest, and is far away',
    joined: true,
    make: async (one) => {
      await one.reinstall();
      await one.attempt();
    },
    instead: true,
    lines: 1,
  },
  {
    cause: 'proof-missing',
    when: 'its state was copied, and the copy renewed',
    joined: true,
    make: async (one) => {
      await renewCopy(one);
      await one.attempt();
    },
    lines: 2,
  },
  {
    cause: 'proof-failed',
    when: 'it was reset while it joined',
    joined: false,
    make: async (one) => {
      const reset = ['node', 'reset', one.id, '--out', network.path(`reset-${one.id}`), '--yes'];
      await proveLate(one, await keyOf(one), () => one.admin(...reset));
    },
    lines: 2,
  },
  {
    cause: 'proof-failed',
    when: 'another device with its key joined first',
    joined: false,
    make: async (one) => {
      await proveLate(one, await keyOf(one), () => one.agent('join'));
    },
    lines: 2,
  },
  {
    cause: 'proof-failed',
    when: 'another device with its key renewed first',
    joined: true,
    make: async (one) => {
      await proveLate(one, await keyOf(one), () => one.agent('join'));
    },
    lines: 2,
  },
  ...both({
    cause: 'was-refused',
    when: 'it was disabled, and is enabled again',
    make: async (one) => {
      await one.admin('node', 'disable', one.id);
      mustBe(await one.join(), 1);
      await one.why('disabled');
      await until('it was refused', () => one.refused(), Boolean);
      await one.admin('node', 'enable', one.id);
    },
    lines: 0,
  }),
  {
    cause: 'device-silent',
    when: 'it was refused, and has been switched off since',
    joined: false,
    make: async (one) => {
      await one.admin('order', 'suspend', one.order);
      mustBe(await one.join(), 1);
      await until('it was refused', () => one.refused(), Boolean);
      await one.admin('order', 'open', one.order);
      await one.age(30 * MINUTE);
    },
    lines: 1,
  },
];

/**
 * Makes the case, and gives what is printed; made again where a cause that passes was over before.
 */
async function makeCase({ cause, joined, order = [], make, passes }: Row): Promise<[Case, Advice]> {
  for (;;) {
    const one = await Case.make(joined, ...order);
    await make(one);
    if (passes !== true) return [one, await one.why(cause)];
    const seen = await one.whyAtOnce(cause);
    if (seen !== undefined) return [one, seen];
  }
}

async function play(row: Row): Promise<void> {
  const { instead, lines, nodeIs = {}, orderIs = {} } = row;
  const [one, advice] = await makeCase(row);
  const steps = instead === true ? advice.instead : advice.steps;
  expect(steps, advice.text).toHaveLength(lines);
  const imports = steps.some(({ line }) => line.includes(' import '));
  await (imports ? oneByOne(() => one.desk.follow(steps)) : one.desk.follow(steps));
  expect(JSON.parse(await one.admin('order', 'show', one.order, '--json'))).toMatchObject(orderIs);
  expect(await showNode(network, one.id)).toMatchObject(nodeIs);
  // A node whose initial key is given out again may have to wait a while.
  await until(
    'it joins',
    () => one.join(),
    (code) => code === 0,
  );
  expect((await one.why('joined')).steps).toEqual([]);
}

const nameOf = ({ cause, when, joined }: Row): string => `${cause}: a node that ${joined ? 'joined' : 'never joined'}: ${when}`;

describe('the next step is printed so that the node joins when it is followed', () => {
  it.concurrent.each(ROWS.map((row) => [nameOf(row), row] as const))('%s', { timeout: TEST_LIMIT_MS }, async (_, row) => {
    await expect(play(row)).resolves.toBeUndefined();
  });
});

describe('a node gets answers that do not open: it names the key that it holds, and the command that says what that means', () => {
  const cases: [string, string, boolean, (one: Case) => Promise<void>, boolean][] = [
    ['was installed with another key', 'device-has-other-key', false, (one) => one.installOtherKey(), false],
    ['was installed with another key', 'device-has-other-key', true, (one) => one.installOtherKey(), false],
    ['was installed again from its manifest', 'device-has-initial-key', true, (one) => one.reinstall(), false],
    [
      'was installed again from its manifest, which others may have',
      'device-has-initial-key',
      true,
      (one) => one.reinstall(),
      true,
    ],
    ['has the state of a device whose copy renewed', 'device-has-former-key', true, renewCopy, false],
  ];

  it.concurrent.each(cases)(
    'a device %s: %s; joined: %s',
    { timeout: TEST_LIMIT_MS },
    async (_, cause, joined, make, instead) => {
      const one = await Case.make(joined);
      await make(one);
      const failed = await network.try('node-agent', ['join', '--state', one.state]);
      const { key, key_is_initial: initial } = await showStatus(network, one.state);
      expect(failed.code).toBe(1);
      expect(failed.stderr).toContain(`none opens under its ${initial === true ? 'initial ' : ''}key [secret ${String(key)}]`);
      const [step, ...others] = adviceIn(failed.stderr).steps;
      expect(others).toEqual([]);
      const why = await one.desk.paste(step!.line);
      expect(why.stdout).toContain(`[secret ${String(key)}]`);
      const advice = adviceIn(why.stdout);
      expect(JSON.parse((await one.desk.paste(`${step!.line} --json`)).stdout)).toMatchObject({ cause });
      await one.desk.follow(instead ? advice.instead : advice.steps);
      await until(
        'it joins',
        () => one.join(),
        (code) => code === 0,
      );
    },
  );

  it.concurrent(
    'they are of another controller than it was installed for: the command names that one',
    { timeout: TEST_LIMIT_MS },
    async () => {
      const one = await Case.make(true);
      await one.agent('move', '--controller', otherAddress);
      await one.admin('node', 'move', one.id, '--controller', OTHER);
      const failed = await network.try('node-agent', ['join', '--state', one.state]);
      expect(failed.stderr).toContain(`but from controller ${OTHER}, and it was installed for ${CONTROLLER}`);
      const [step] = adviceIn(failed.stderr).steps;
      expect(await one.desk.paste(step!.line, 'device')).toMatchObject({ code: 0 });
      expect(await one.join()).toBe(0);
    },
  );

  it.concurrent.each([false, true])(
    'they do not reach it, though it holds the right key; joined: %s',
    { timeout: TEST_LIMIT_MS },
    async (joined) => {
      const one = await Case.make(joined);
      const way = await WayWithoutReturn.open(endpointOf(address).port);
      try {
        await one.agent('move', '--controller', `127.0.0.1:${way.port}`);
        await one.attempt();
        const { key } = await showStatus(network, one.state);
        const advice = await one.why('device-has-this-key', '--holds', String(key));
        expect(advice.steps.map(({ line }) => line)).toEqual([
          'latchkey-node-agent join --state /var/lib/latchkey/node-agent --log-level debug',
        ]);
        way.openReturn();
        // The command that shows what comes is itself an attempt.
        await one.desk.follow(advice.steps);
        await one.why('joined');
      } finally {
        way.close();
      }
    },
  );
});

describe('every cause that there is', () => {
  /** In why-daemons.test.ts, for nodes of both kinds. */
  const OF_DAEMONS = ['server-silent', 'clock-set-back', 'controller-silent', 'controller-key', 'clock', 'store', 'restored'];
  /** Above, from what the node itself says. */
  const OF_KEYS = ['device-has-this-key', 'device-has-initial-key', 'device-has-former-key', 'device-has-other-key'];

  it.each([
    // A node that has joined renews whatever its order says; one that is silent is late, or well.
    [true, ['outside-join-window', 'never-asked', 'device-silent']],
    // A node that has not has no key that could expire.
    [false, ['expired', 'expiring', 'joined']],
  ])('is made above, by nodes of which it is true that they joined: %s, but where it cannot be', (joined, impossible) => {
    const rows = ROWS.filter((row) => row.joined === joined).map(({ cause }) => cause);
    const made = new Set<string>([...rows, ...OF_DAEMONS, ...OF_KEYS, ...(joined ? ['joined'] : [])]);
    expect(CAUSES.filter((cause) => !made.has(cause)).toSorted()).toEqual(
      impossible.filter((cause) => !made.has(cause)).toSorted(),
    );
    expect(impossible.filter((cause) => rows.includes(cause as Row['cause']))).toEqual([]);
  });
});

/** Carries datagrams to a controller, and its answers back only when it is told to. */
class WayWithoutReturn {
  readonly port: number;
  readonly #near: Socket;
  readonly #far = new Map<number, Socket>();
  #returns = false;

  static async open(to: number): Promise<WayWithoutReturn> {
    const near = createSocket('udp4').bind(0, '127.0.0.1');
    await once(near, 'listening');
    return new WayWithoutReturn(near, to);
  }

  private constructor(near: Socket, to: number) {
    this.#near = near;
    this.port = near.address().port;
    near.on('message', (octets, { port }) => {
      let far = this.#far.get(port);
      if (far === undefined) {
        far = createSocket('udp4').on('message', (answer) => {
          if (this.#returns) near.send(answer, port, '127.0.0.1');
        });
        this.#far.set(port, far);
      }
      far.send(octets, to, '127.0.0.1');
    });
  }

  openReturn(): void {
    this.#returns = true;
  }

  close(): void {
    for (const socket of [this.#near, ...this.#far.values()]) socket.close();
  }
}
