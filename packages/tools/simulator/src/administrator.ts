/**
 * What an administrator changes in the registry, by the functions that the commands call. A node
 * has one initial key here, whatever is done to it.
 */

import type { Clocks } from '@latchkey/protocol';
import { Secret } from '@latchkey/protocol';
import { moveNodes, removeNodes, resetNode, setController, setDisabled } from '@latchkey/operations';
import { hadInitialKey, InDoubt, type Registry } from '@latchkey/registry';
import { Unavailable } from '@latchkey/registry/memory';
import { Failure } from '@latchkey/runtime/failure';
import { type InitialNode, newNode, newOrder, type SimulatedRegistry, type Snapshot } from './simulated-registry.js';
import { SharedRegistry } from './shared-registry/shared-registry.js';
import type { Simulation } from './simulation.js';

/** Until a command is given again, in ms. */
const TRY_AGAIN_MS = 2_000;

export class Administrator {
  protected readonly registry: SimulatedRegistry;
  readonly #simulation: Simulation;
  readonly #clock: () => Clocks;
  #given: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** @param clock of the machine where the commands run */
  constructor(simulation: Simulation, registry: SimulatedRegistry, clock: () => Clocks) {
    this.#simulation = simulation;
    this.registry = registry;
    this.#clock = clock;
  }

  /** `node reset`, with the initial key that the node came with. */
  reset(idI: number, ik: string, done: () => void): void {
    this.#run((registry) => resetNode(registry, idI, Secret.fromHex(ik)), done);
  }

  /** `node remove`. */
  remove(idI: number, done: () => void): void {
    this.#run((registry) => this.removed(registry, idI), done);
  }

  protected async removed(registry: Registry, idI: number): Promise<void> {
    await removeNodes(registry, [idI]);
  }

  /** `import` of a node that was removed. */
  add(node: InitialNode, done: () => void): void {
    const { idI } = node;
    this.#run(
      (registry) =>
        registry.write({ recentInitialKeys: [idI], metadata: ['clock history', 'initial key id key'] }, (found) => {
          const [order, at] = [found.lastOrder + 1, registry.timeOfServers(found)];
          const row = newNode(registry, order, node);
          const isReissued = hadInitialKey(found.recentInitialKeys(idI), row.ik, at);
          return {
            result: undefined,
            events: [{ what: 'nodes imported', order, count: 1 }],
            put: {
              nodes: [[idI, isReissued ? { ...row, reissuedAt: at } : row]],
              orders: [[order, newOrder(at, found.head.seq + 1)]],
            },
          };
        }),
      done,
    );
  }

  /** `node move`. */
  move(idI: number, idC: number): void {
    this.#run((registry) => moveNodes(registry, [idI], idC));
  }

  /** `node disable` and `node enable`. */
  setDisabled(idI: number, disabled: boolean): void {
    this.#run((registry) => setDisabled(registry, [idI], disabled));
  }

  /** `controller set --pass-through`. */
  setPassThrough(idC: number, passThrough: boolean): void {
    this.#run((registry) => setController(registry, idC, { passThrough }));
  }

  /** `backup`. */
  backup(done: (snapshot: Snapshot) => void): void {
    const at = this.#clock().wallMs;
    this.#run(
      (registry) => registry.write({}, () => ({ result: undefined, events: [{ what: 'registry backed up', at }] })),
      () => done(this.registry.snapshot()),
    );
  }

  /** `restore`, while no server runs. The time counts for every node. */
  restore(snapshot: Snapshot, done: () => void): void {
    this.#simulation.run(async () => {
      await this.restored(snapshot, this.#clock().wallMs);
      done();
    });
  }

  protected async restored(snapshot: Snapshot, wallMs: number): Promise<void> {
    await this.registry.restore(snapshot, wallMs);
    await this.registry.reopen();
  }

  /** Whether a command is under way. A failover may delay it for long. */
  get isBusy(): boolean {
    return this.#waiting > 0;
  }

  /** On a registry that takes its time one command is given after the other. */
  #run(command: (registry: Registry) => Promise<unknown>, done: () => void = () => undefined): void {
    if (!(this.registry instanceof SharedRegistry)) return this.#simulation.run(() => this.#give(command, done));
    const before = this.#given;
    this.#waiting += 1;
    this.#given = before.then(() => this.#give(command, done)).finally(() => (this.#waiting -= 1));
    this.#simulation.run(() => this.#given);
  }

  /**
   * A rejected command has changed nothing, because another change came first. A command that does
   * not reach the registry, or whose outcome is unknown, is repeated.
   */
  async #give(command: (registry: Registry) => Promise<unknown>, done: () => void): Promise<void> {
    try {
      await command(this.registry.administrator);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error instanceof Unavailable || error instanceof InDoubt) {
        await this.#pause();
        return this.#give(command, done);
      }
    }
    done();
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#simulation.events.schedule(TRY_AGAIN_MS, () => {
        this.#simulation.unsettled();
        resolve();
      });
    });
  }
}
