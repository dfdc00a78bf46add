// What the test files share: a network in one process, with a real registry and key store, and a
// node that speaks by the protocol's functions.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { AuthServer } from '@latchkey/auth-server';
import { Registry } from '@latchkey/registry';
import {
  type AwaitingM4,
  type AwaitingM6,
  beginAttempt,
  type ServerNodeRecord,
  type NodeState,
  receiveM4,
  receiveM6,
  Respondent,
  type RespondentBounds,
  Secret,
} from '@latchkey/protocol';
import { PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { encodeNid } from '@latchkey/runtime/net';
import type { PostResponse, PostRequest } from '@latchkey/coap';
import { onTestFinished } from 'vitest';
// The package's own, as `AuthServer` above is, but not exported: only an administrator adds nodes.
import { NodeBatch, addController, setDisabled, enrol } from '@latchkey/operations';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { Controller } from '../src/controller.js';
import { type AuthServerClient, InProcessAuthServerClient } from '../src/auth-server-client.js';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { KeyFeed } from '../src/key-feed.js';

// As every command does: what LMDB makes is for this user alone.
process.umask(0o077);

export const ID_C = 1;
/**
 * What the clocks here show at first: later than what the system's clock writes into the audit log
 * meanwhile.
 */
const WALL = 4_000_000_000_000;
/** A feed asks at this interval once it is started, as a controller's does. */
export const FEED_INTERVAL_MS = 10_000;
/** Master key of the stores here. */
export const MASTER: Secret = newSecret();
export const ID_I = 0xa1b2;

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** Opens the store of keys in `path`; it wipes its copy of the master key when it is closed. */
export function openApplicationRootStore(path: string, master: Secret = MASTER): Promise<ApplicationRootStore> {
  return ApplicationRootStore.open(path, Secret.from(master.expose()));
}

export async function newApplicationRootStore(): Promise<ApplicationRootStore> {
  const applicationRoots = await openApplicationRootStore(join(await tempFolder(), 'keys'));
  onTestFinished(() => applicationRoots.close());
  return applicationRoots;
}

export interface NetworkOptions {
  readonly bounds?: RespondentBounds;
  readonly node?: Partial<ServerNodeRecord>;
  /** Stands between the controller and the server. */
  readonly authServer?: (local: AuthServerClient) => AuthServerClient;
  readonly nextTid?: () => bigint | undefined;
  readonly applicationRoots?: ApplicationRootStore;
  readonly maxUnverifiedMs?: number;
}

/** A controller in combined mode, and one node in its registry. */
export class Network {
  readonly registry: Registry;
  readonly controller: Controller;
  /** It asks once it is started. */
  readonly keyFeed: KeyFeed;
  /** Another feed of this controller, as after a restart. */
  readonly newKeyFeed: (store: ApplicationRootStore, to?: AuthServerClient, time?: ProcessTime, intervalMs?: number) => KeyFeed;
  readonly applicationRoots: ApplicationRootStore;
  readonly log: CapturedLog;
  /** The clocks of controller and server; set them. */
  readonly now: { wallMs: number; monotonicMs: number };
  readonly ik: Secret;
  readonly skCs: Secret;

  private constructor(
    fields: Pick<
      Network,
      'registry' | 'controller' | 'keyFeed' | 'newKeyFeed' | 'applicationRoots' | 'log' | 'now' | 'ik' | 'skCs'
    >,
  ) {
    this.registry = fields.registry;
    this.controller = fields.controller;
    this.keyFeed = fields.keyFeed;
    this.newKeyFeed = fields.newKeyFeed;
    this.applicationRoots = fields.applicationRoots;
    this.log = fields.log;
    this.now = fields.now;
    this.ik = fields.ik;
    this.skCs = fields.skCs;
  }

  static async create(options: NetworkOptions = {}): Promise<Network> {
    const master = (): Promise<Secret> => Promise.resolve(Secret.from(MASTER.expose()));
    const now = { wallMs: WALL, monotonicMs: 1_000_000 };
    const clock = (): { wallMs: number; monotonicMs: number } => ({ ...now });
    const registry = await Registry.create(await tempFolder(), master, 'test', clock);
    const applicationRoots = options.applicationRoots ?? (await newApplicationRootStore());
    const [ik, skCs, log] = [newSecret(), newSecret(), new CapturedLog()];
    await addController(registry, { idC: ID_C, skCs, nid: { host: '192.0.2.1', port: 5683 }, servers: [], addedAt: now.wallMs });
    await addNode(registry, ik, options.node);
    const server = new AuthServer({ registry, clock, randomBytes, log: log.log });
    const local = new InProcessAuthServerClient(server);
    let tid = 0n;
    const nextTid = options.nextTid ?? (() => (tid += 1n));
    const respondent = new Respondent({
      idC: ID_C,
      skCs,
      bounds: options.bounds ?? { total: 64, perSource: 64 },
      randomBytes,
      nextTid,
    });
    const authServer = options.authServer?.(local) ?? local;
    const link = {
      idC: ID_C,
      nextTid,
      randomBytes,
      clock,
      log: log.log,
      maxUnverifiedMs: options.maxUnverifiedMs ?? 0,
    };
    const newKeyFeed: Network['newKeyFeed'] = (store, to = authServer, time = PROCESS_TIME, intervalMs) =>
      new KeyFeed({ ...link, skCs: skCs.copy(), authServer: to, store, time, intervalMs });
    const keyFeed = newKeyFeed(applicationRoots);
    const controller = new Controller({ respondent, authServer, applicationRoots, keyFeed, clock, log: log.log });
    onTestFinished(async () => {
      await keyFeed.stop();
      await controller.stop();
      await server.close();
      await registry.close();
    });
    return new Network({ registry, controller, keyFeed, newKeyFeed, applicationRoots, log, now, ik, skCs });
  }

  /** With how many requests before its M5 each peer was vouched for. */
  readonly confirmedLegitimate: number[] = [];

  /** The controller's answer to what a node sends from `address`. */
  async ask(payload: Uint8Array, { address = '192.0.2.7', port = 49_152, addressValidated = false } = {}): Promise<PostResponse> {
    const source: PostRequest['source'] = { address, prefix: address, port, nid: encodeNid(address, port), addressValidated };
    return this.controller.answer({
      payload: Buffer.from(payload),
      source,
      confirmLegitimate: (earlier) => this.confirmedLegitimate.push(earlier),
    });
  }
}

async function addNode(registry: Registry, ik: Secret, node: NetworkOptions['node'] = {}): Promise<void> {
  const { idI = ID_I, controller: idC = ID_C, lifetime = 3_600, grace = 60, disabled = false, joinFrom, joinUntil } = node;
  const batch = new NodeBatch();
  batch.add(idI, idC, ik.expose(), 1);
  const terms = { kind: 'order', installer: 'Kim & Sons', idC, sharedKey: false, lifetime, grace } as const;
  const window = { ...(joinFrom === undefined ? {} : { joinFrom }), ...(joinUntil === undefined ? {} : { joinUntil }) };
  await enrol(registry, { terms: { ...terms, ...window }, batch });
  if (disabled) await setDisabled(registry, [idI], true);
}

/** A node that keeps its state here. */
export class TestNode {
  state: NodeState;

  constructor(ik: Secret, idI: number = ID_I) {
    this.state = { idI, controllers: [ID_C], confirmed: ik, initial: true, candidates: [] };
  }

  begin(): AwaitingM4 {
    return beginAttempt(this.state, randomBytes(16), 0);
  }

  /** Takes an M4, which must open. */
  takeM4(attempt: AwaitingM4, answer: PostResponse): AwaitingM6 {
    const decision = receiveM4(this.state, attempt, payloadOf(answer), 0);
    if (decision.kind !== 'store') throw new Error(`M4 was not taken: ${JSON.stringify(decision)}`);
    this.state = decision.state;
    return decision.attempt;
  }

  /** Takes an M6, which must open; gives the lifetime. */
  takeM6(attempt: AwaitingM6, answer: PostResponse): number {
    const decision = receiveM6(this.state, attempt, payloadOf(answer));
    if (decision.kind !== 'joined') throw new Error(`M6 was not taken: ${decision.reason}`);
    this.state = decision.state;
    return decision.lifetime;
  }

  /** M1 and M4; gives the M5 that is to be sent. */
  async prepareM5(network: Network, from: { readonly addressValidated?: boolean } = {}): Promise<Uint8Array> {
    const m1 = this.begin();
    return this.takeM4(m1, await network.ask(m1.m1, from)).m5;
  }

  /** M1 to M6; gives the lifetime. */
  async join(network: Network): Promise<number> {
    const m1 = this.begin();
    const m5 = this.takeM4(m1, await network.ask(m1.m1));
    return this.takeM6(m5, await network.ask(m5.m5));
  }
}

function payloadOf(answer: PostResponse): Uint8Array {
  if (answer === 'challenge' || answer.payload === undefined) throw new Error(`no payload: ${JSON.stringify(answer)}`);
  return answer.payload;
}
