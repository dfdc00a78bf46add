/**
 * A controller: the real `Controller`, `KeyFeed`, `TidAllocator` and `CoapAuthServerClient`,
 * composed like `run` of packages/controller. Its process, time and disk are simulated. So are its
 * sockets, with the parts of `CoapServer` around them: Echo, and dropping copies of a request in
 * progress. In some worlds the controller stores application roots and follows the key feed.
 */

import { type AuthServerClient, CoapAuthServerClient, InProcessAuthServerClient } from '@latchkey/controller/auth-server-client';
import { Controller, type ControllerOptions } from '@latchkey/controller/controller';
import { DEFAULT_FEED_INTERVAL_MS, KeyFeed } from '@latchkey/controller/key-feed';
import { TidAllocator, type TidEnvironment } from '@latchkey/controller/tid-allocator';
import type { Clocks, RespondentBounds, Secret } from '@latchkey/protocol';
import { type Log, newLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { type SeededRandom, hashText } from '@latchkey/test-support/seeded-random';
import { ControllerObserver } from './controller-observer.js';
import { type Address, type Datagram, hostOf } from './network.js';
import { SimulatedFile } from './simulated-file.js';
import type { CrashModel, Process } from './process.js';
import type { RespondentRole } from './roles.js';
import type { SimulatedKeyStore } from './simulated-key-store.js';
import { linkEnvironment } from './link-environment.js';
import type { SimulatedServer } from './server.js';
import type { SimulationContext } from './simulation-context.js';
import { tidEnvironment } from './tid-environment.js';

const SERVER_PORT = 5693;
const ECHO_LIFETIME_MS = 60_000;
const EMPTY = new Uint8Array(0);
/** A supervisor starts a process again that could not start, after this many ms. */
const RESTART_DELAY_MS = 5_000;

export interface ControllerPlan {
  readonly idC: number;
  readonly skCs: Secret;
  /** Not the attacker's own, which the attacker can answer in the server's name. */
  readonly honest: boolean;
  readonly bounds: RespondentBounds;
  /** The servers it relays to, by name; none: it has the registry itself. */
  readonly servers: readonly string[];
  readonly crashModel: CrashModel;
  readonly diskErrorProbability: number;
  /** Several hosts behind one address, as behind a NAT, share a network. */
  readonly networkOf: (host: string) => string;
  readonly KeyStore: typeof SimulatedKeyStore;
  /** Whether it keeps application roots, true by the key feed. */
  readonly followsKeyFeed: boolean;
}

type PostRequest = Parameters<Controller['answer']>[0];
type PostResponse = Awaited<ReturnType<Controller['answer']>>;

export class SimulatedController {
  protected readonly context: SimulationContext;
  protected readonly plan: ControllerPlan;
  protected readonly process: Process;
  protected readonly random: SeededRandom;
  protected readonly file: SimulatedFile;
  readonly #log: Log;
  readonly #observer: ControllerObserver;
  readonly #keyStore: SimulatedKeyStore;
  /** In combined mode. */
  readonly #server: SimulatedServer | undefined;
  /** By the rules of the world, without the observer. */
  protected respondent: RespondentRole | undefined;
  #authServer: AuthServerClient | undefined;
  #controller: Controller | undefined;
  #keyFeed: KeyFeed | undefined;
  readonly #inFlightRequests = new Set<string>();
  #echoKey = '';
  #lastTid = 0n;
  /** The wall clock's error, in ms. */
  clockError = 0;
  /** Told before each start, when a clock may be wrong. */
  beforeStart: () => void = () => undefined;

  constructor(context: SimulationContext, plan: ControllerPlan, server?: SimulatedServer) {
    this.context = context;
    this.plan = plan;
    this.#server = server;
    this.random = context.simulation.random(`c${plan.idC} draws`);
    this.process =
      server?.process ??
      context.process(
        `c${plan.idC}`,
        plan.crashModel,
        () => this.start(),
        (kind) => this.crash(kind),
      );
    const { idC, honest, bounds, KeyStore, diskErrorProbability } = plan;
    this.#log = newLog(`c${idC}`, 'info', { write: (line) => context.logLine(`c${idC}`, line) }, false);
    this.#observer = new ControllerObserver(context.oracle, { idC, honest, total: bounds.total });
    this.file = new SimulatedFile(this.process, diskErrorProbability);
    this.#keyStore = new KeyStore(this.process, diskErrorProbability, () => this.now.wallMs);
    this.#keyStore.onRefused = (): void => this.onFeedDisturbed();
  }

  get idC(): number {
    return this.plan.idC;
  }

  /** Keys for applications; `undefined` while the controller does not run, or stores none. */
  get givenOut(): SimulatedKeyStore | undefined {
    return this.#keyFeed && this.#keyStore;
  }

  /** Told when it cannot follow the key feed: it has just started, or its disk fails. */
  onFeedDisturbed: () => void = () => undefined;

  get run(): number {
    return this.process.run;
  }

  begin(): void {
    this.process.start();
  }

  get now(): Clocks {
    return { wallMs: this.context.simulation.trueTime + this.clockError, monotonicMs: this.process.monotonicMs };
  }

  crash(kind: 'killed' | 'power lost'): void {
    this.file.crash(kind);
    this.#keyStore.crash();
    this.#keyFeed = undefined;
    this.#controller = undefined;
    this.respondent = undefined;
    this.#inFlightRequests.clear();
    this.context.network.close(`c${this.idC}:5683`);
    // Its sockets are gone before anything else happens.
    this.context.simulation.unsettled();
    void this.#authServer?.close();
  }

  start(): void {
    this.beforeStart();
    this.#echoKey = `${this.random.u32()}`;
    this.context.simulation.run(async () => {
      try {
        const tids = await this.openTids(tidEnvironment(this.process, this.file), this.now.wallMs);
        this.#serve(() => {
          const tid = tids.next();
          if (tid !== undefined && tid > this.#lastTid) this.#lastTid = tid;
          return tid;
        });
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        this.process.crash('killed', RESTART_DELAY_MS);
      }
    });
  }

  /** As `run` of the daemon does. */
  #serve(nextTid: () => bigint | undefined): void {
    const { network, rules, simulation } = this.context;
    const { idC, skCs, bounds, servers } = this.plan;
    const authServer =
      this.#server === undefined
        ? new CoapAuthServerClient(
            servers.map((host) => ({ host, port: SERVER_PORT })),
            this.#log,
            linkEnvironment(this.process, network, this.random),
          )
        : new InProcessAuthServerClient(this.#server);
    this.#authServer = authServer;
    this.respondent = rules.roles.respondent({ idC, skCs, bounds, randomBytes: (n) => this.random.octets(n), nextTid });
    this.#keyFeed = this.plan.followsKeyFeed ? this.#newKeyFeed(authServer, nextTid) : undefined;
    simulation.unsettled();
    this.#controller = this.newController({
      respondent: this.#observer.respondent(this.respondent),
      authServer: this.#observer.authServer(authServer),
      applicationRoots: this.#keyStore,
      // Without a feed nothing ever says that a key counts.
      keyFeed: this.#keyFeed ?? { joined: () => false },
      clock: () => this.now,
      log: this.#log,
      time: this.process.time('drops old transactions'),
    });
    this.#keyFeed?.start();
    network.listen(`c${idC}:5683`, (datagram) => this.process.receive('takes a request', () => this.#receive(datagram)));
  }

  protected newController(options: ControllerOptions): Controller {
    return new Controller(options);
  }

  #newKeyFeed(authServer: AuthServerClient, takeTid: () => bigint | undefined): KeyFeed {
    this.onFeedDisturbed();
    const nextTid = (): bigint | undefined => {
      const tid = takeTid();
      if (tid === undefined) this.onFeedDisturbed();
      return tid;
    };
    return new KeyFeed({
      idC: this.idC,
      skCs: this.plan.skCs.copy(),
      nextTid,
      randomBytes: (n) => this.random.octets(n),
      authServer,
      store: this.#keyStore,
      clock: () => this.now,
      log: this.#log,
      intervalMs: DEFAULT_FEED_INTERVAL_MS,
      maxUnverifiedMs: 0,
      newClient: this.context.rules.roles.keyFeedClient,
      time: this.process.time('goes on with the key feed'),
    });
  }

  /** @param wallMs ms since the epoch */
  protected openTids(environment: TidEnvironment, wallMs: number): Promise<Pick<TidAllocator, 'next'>> {
    const { idC, skCs } = this.plan;
    return TidAllocator.open(`c${idC}/serials.json`, { idC, skCs }, wallMs, this.#log, environment);
  }

  /**
   * Deletes the state folder and ends the process. The clock then replaces it, because it is ahead
   * of every TID in use.
   */
  loseFolder(downMs: number): boolean {
    if (!this.process.up || BigInt(this.now.wallMs) * 1000n <= this.#lastTid) return false;
    this.process.crash('killed', downMs);
    this.file.remove();
    this.#keyStore.remove();
    return true;
  }

  #receive(datagram: Datagram): void {
    const controller = this.#controller;
    if (datagram.kind !== 'request' || controller === undefined) return;
    const { from, token, payload, echo } = datagram;
    // A copy of what is being worked on: the first one's answer is its answer.
    const key = `${from} ${token}`;
    if (this.#inFlightRequests.has(key)) return;
    this.#inFlightRequests.add(key);
    this.#observer.isAddressValidated = this.#verifyEcho(echo, from);
    const answer = controller.answer({
      payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      source: this.sourceOf(from, echo),
      // No request is limited here.
      confirmLegitimate: () => undefined,
    });
    const respond = (response: PostResponse): void => {
      // A process that was killed meanwhile answers nothing.
      if (this.#controller !== controller) return;
      this.#inFlightRequests.delete(key);
      this.#respond(datagram, response);
    };
    if (!(answer instanceof Promise)) return respond(answer);
    this.context.simulation.run(async () => respond(await answer));
  }

  #respond({ from, to, token, payload }: Datagram, response: PostResponse): void {
    if (response !== 'challenge' && response.payload !== undefined) this.#observer.sent(payload, response.payload);
    const content =
      response === 'challenge'
        ? { code: '4.01' as const, payload: EMPTY, echo: this.#issueEcho(from) }
        : { ...response, payload: response.payload ?? EMPTY };
    this.context.network.send({ from: to, to: from, kind: 'answer', token, ...content });
  }

  protected sourceOf(from: Address, echo: string | undefined): PostRequest['source'] {
    const host = hostOf(from);
    const nid = new Uint8Array(18);
    new DataView(nid.buffer).setUint32(0, hashText(from));
    return {
      address: host,
      prefix: this.plan.networkOf(host),
      port: Number(from.slice(host.length + 1)),
      nid,
      addressValidated: this.#verifyEcho(echo, from),
    };
  }

  /**
   * Echo (echo.ts): a time and a tag over time and address, of which an attacker can make neither.
   */
  #issueEcho(from: Address): string {
    return `${this.#echoKey} ${this.process.monotonicMs} ${from}`;
  }

  #verifyEcho(echo: string | undefined, from: Address): boolean {
    const [key, at, source] = echo?.split(' ') ?? [];
    const age = this.process.monotonicMs - Number(at);
    return key === this.#echoKey && source === from && age >= 0 && age < ECHO_LIFETIME_MS;
  }
}
