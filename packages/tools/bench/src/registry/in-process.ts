/**
 * What the registry and the auth-server on it take inside this process: no sockets, no command to
 * start.
 */

import { AuthServer } from '@latchkey/auth-server';
import { chunksOf, type Registry, type UnsealedNode } from '@latchkey/registry';
import type { Secret } from '@latchkey/protocol';
import { type Clock, createLog, randomOctets, readClock } from '@latchkey/runtime/daemon';
import type { Measurement } from '../interleave.js';
import { prepareCommits } from './commits.js';
import { type Fleet, ID_C } from './fleet.js';
import { JOINS_PER_BATCH, runConcurrently, join, prepareJoin } from './joins.js';
import type { RegistryFixture } from './registry-fixture.js';

/** Per operation. CPU time is all threads', LMDB's own included. */
export type Cost = Measurement<'wallUs' | 'cpuUs'>;

export class InProcessRegistry {
  readonly #fleet: Fleet;
  readonly #registry: Registry;
  readonly #server: AuthServer;
  readonly #skCs: Secret;

  private constructor(fleet: Fleet, registry: Registry, server: AuthServer, skCs: Secret) {
    this.#fleet = fleet;
    this.#registry = registry;
    this.#server = server;
    this.#skCs = skCs;
  }

  static async open(fixture: RegistryFixture): Promise<InProcessRegistry> {
    return InProcessRegistry.serve(await fixture.open(), fixture, readClock);
  }

  /** An auth-server on a registry that holds the fleet of `fixture`. */
  static async serve(registry: Registry, fixture: RegistryFixture, clock: Clock): Promise<InProcessRegistry> {
    // As a daemon logs to a file nobody reads the lines of: its cost is not the registry's.
    const log = await createLog('bench', 'error', 'stderr');
    const server = new AuthServer({ registry, clock, randomBytes: randomOctets, log });
    await server.persistClock();
    return new InProcessRegistry(fixture.fleet, registry, server, await fixture.skCs());
  }

  /** Nodes at random, with their keys. */
  async lookUp(count: number): Promise<Cost> {
    const ids = this.#fleet.pick(count).map((i) => this.#fleet.idI(i));
    return costOf(ids.length, () => {
      for (const idI of ids) this.#node(idI).key.wipe();
    });
  }

  /** Pages of 100 nodes under two filters, each with its total. */
  async list(count: number): Promise<Cost> {
    const filter = { states: ['enrolled', 'joined'] as const, controllers: [ID_C] };
    return this.#repeated(count, (now) => this.#registry.nodeList({ filter, now, limit: 100, counted: true }));
  }

  /** Counts of all nodes by state. */
  async count(count: number): Promise<Cost> {
    return this.#repeated(count, (now) => this.#registry.nodeCounts({}, now, 'state'));
  }

  /** Commits of nodes that were looked up before, each durable. */
  async commit(count: number, inFlight: number): Promise<Cost> {
    const nodes = this.#fleet.pick(count);
    const commit = await prepareCommits(this.#registry, this.#fleet, nodes, inFlight);
    return costOf(nodes.length, commit);
  }

  /** Whole joins of nodes at random: M2 answered, M7 committed. */
  join(count: number, inFlight: number): Promise<Cost> {
    return this.#join(this.#fleet.pick(count), inFlight);
  }

  /** Each active node of the fleet joins once. */
  async joinAll(inFlight: number): Promise<void> {
    const nodes = Array.from({ length: this.#fleet.active }, (_, i) => i);
    for (const batch of chunksOf(nodes, JOINS_PER_BATCH)) await this.#join(batch, inFlight);
  }

  async #join(nodes: readonly number[], inFlight: number): Promise<Cost> {
    const joins = nodes.map((i) => prepareJoin(this.#fleet, i, this.#skCs));
    const answer = async (octets: Uint8Array): Promise<string> => (await this.#server.answer(octets)).code;
    return costOf(joins.length, () => runConcurrently(joins, inFlight, (one) => join(this.#fleet, one, answer)));
  }

  async #repeated(count: number, ask: (now: number) => Promise<unknown>): Promise<Cost> {
    // The first one makes the index of nodes.
    await ask(Date.now());
    return costOf(count, async () => {
      for (let i = 0; i < count; i++) await ask(Date.now());
    });
  }

  async close(): Promise<void> {
    await this.#server.close();
    await this.#registry.close();
  }

  /** As the server looks one up: LMDB answers at once. */
  #node(idI: number): UnsealedNode {
    const node = this.#registry.readNode(idI);
    if (node === undefined || node instanceof Promise) throw new Error('a node of the fleet is not in the registry');
    return node;
  }
}

async function costOf(operations: number, work: () => void | Promise<void>): Promise<Cost> {
  const [since, cpuSince] = [performance.now(), process.cpuUsage()];
  await work();
  const wallMs = performance.now() - since;
  const { user, system } = process.cpuUsage(cpuSince);
  return { wallUs: (wallMs * 1000) / operations, cpuUs: (user + system) / operations };
}
