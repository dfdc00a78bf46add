/**
 * The connections of one process to the machines of the database. Both directions are ordered, as
 * in TCP. Data sent while the link is cut arrive when it is restored, even if their sender has
 * ended.
 */

import { Failure } from '@latchkey/runtime/failure';
import {
  ConnectionFailure,
  type ConnectionOptions,
  type DatabaseConnection,
  type Environment,
  type PostgresHost,
  type SqlResult,
  type Statement,
} from '@latchkey/registry/postgres/simulation';
import { hashText } from '@latchkey/test-support/seeded-random';
import type { Process } from '../process.js';
import type { Simulation } from '../simulation.js';
import { type Answer, Backend, type SimulatedHost } from './host.js';

const CONNECT_TIMEOUT_MS = 2_000;
/** After this the database drops a connection whose machine is gone, in ms. */
const KEEPALIVE_MS = 30_000;

/** What befalls the messages between servers and database. */
export interface LinkConditions {
  /** That something befalls one. */
  readonly probability: number;
  /** For how long one is held up, in ms. */
  readonly heldMs: readonly number[];
}

/** What a mutant changes of the engine's messages. */
export interface LinkRules {
  readonly sent: (statement: Statement, process: Process) => Statement;
  readonly hearsWarnings: boolean;
}

export interface LinkPlan {
  readonly process: Process;
  readonly hosts: readonly SimulatedHost[];
  readonly conditions: () => LinkConditions;
  readonly rules: LinkRules;
  readonly machine: Pick<Environment, 'monotonicNow' | 'bootId'>;
  /** Something befell a message. */
  readonly onFault: () => void;
  /** A slow read has just seen the rows of these nodes, and not their controllers'. */
  readonly onNodesRead: (ids: readonly number[]) => void;
}

/** What befalls one batch of statements. */
type Trouble =
  | { readonly kind: 'none' }
  /** The connection breaks before they arrive, or once they are done. */
  | { readonly kind: 'breaks'; readonly after: boolean }
  /** They are held up, whole or but for their beginning. */
  | { readonly kind: 'held'; readonly ms: number; readonly inside: boolean }
  /** Time passes between two statements. */
  | { readonly kind: 'slow'; readonly gapMs: number };

/** The second half of a write that changes a node, and says so in the audit log. */
function isOfNode(statements: readonly Statement[]): boolean {
  const names = new Set(statements.map(({ name }) => name));
  return names.has('put latchkey.nodes') && names.has('put entries');
}

export class Link {
  readonly #plan: LinkPlan;
  readonly #simulation: Simulation;
  readonly #stream: number;
  readonly #connections = new Set<SimulatedConnection>();
  #count = 0;
  /** By host: when the way is there again. */
  readonly #openAt = new Map<string, number>();
  #startedAt = 0;
  /** The second half of the next write of a node is held up for so long. */
  #holdsNextWrite: number | undefined;
  #slowsReadsUntil = 0;

  constructor(plan: LinkPlan) {
    this.#plan = plan;
    this.#simulation = plan.process.simulation;
    this.#stream = hashText(`${plan.process.name} database`);
    this.#startedAt = this.#simulation.now;
  }

  get process(): Process {
    return this.#plan.process;
  }

  /** What the engine of this run of the process lives in. */
  environment(): Environment {
    const { process, machine } = this.#plan;
    const { run } = process;
    this.#startedAt = this.#simulation.now;
    const startedAt = this.#startedAt;
    const later = (ms: number, action: () => void): (() => void) => {
      let isCancelled = false;
      const due = (): void => {
        if (isCancelled || !process.up || process.run !== run) return;
        process.receive('a time is over', () => {
          if (isCancelled) return;
          this.#simulation.unsettled();
          action();
        });
      };
      this.#simulation.events.schedule(ms, due);
      return () => {
        isCancelled = true;
      };
    };
    return {
      readCredentials: () => Promise.resolve({ password: '', ssl: false }),
      connect: (host, _, __, settings, options = {}) => this.#connect(host, settings, options, run),
      now: () => this.#simulation.now - startedAt,
      ...machine,
      after: later,
      every: (ms, action) => {
        let stop: () => void = () => undefined;
        const again = (): void => {
          stop = later(ms, () => {
            again();
            action();
          });
        };
        again();
        return () => stop();
      },
    };
  }

  /** The process is gone. With its machine, nothing is told to the database. */
  crash(isMachineGone: boolean): void {
    for (const connection of this.#connections) {
      if (isMachineGone) connection.vanish();
      else connection.destroy();
    }
    this.#connections.clear();
  }

  /** Nothing gets through for so long, to `host` or to all. */
  cut(ms: number, host?: string): void {
    const until = this.#simulation.now + ms;
    for (const { name } of this.#plan.hosts)
      if (host === undefined || name === host) this.#openAt.set(name, Math.max(until, this.#openAt.get(name) ?? 0));
  }

  heal(): void {
    this.#openAt.clear();
    this.#holdsNextWrite = undefined;
    this.#slowsReadsUntil = 0;
  }

  holdNextWrite(ms: number): void {
    this.#holdsNextWrite = ms;
  }

  slowReads(ms: number): void {
    this.#slowsReadsUntil = this.#simulation.now + ms;
  }

  /** When what is sent now to a host arrives, or what it sends. */
  arrival(host: SimulatedHost): number {
    return Math.max(1, (this.#openAt.get(host.name) ?? 0) - this.#simulation.now);
  }

  troubleOf(statements: readonly Statement[]): Trouble {
    const { faults } = this.#simulation;
    const { process, onFault } = this.#plan;
    const conditions = this.#plan.conditions();
    const count = this.#count++;
    const name = `${process.name} q${count}`;
    const struck = (trouble: Trouble, what: string): Trouble => {
      if (!faults.trigger(`${name} ${what}`)) return { kind: 'none' };
      this.#simulation.record(process.name, `${name} ${what}`);
      onFault();
      return trouble;
    };
    const begins = statements[0]?.text.startsWith('BEGIN') === true;
    if (this.#holdsNextWrite !== undefined && isOfNode(statements)) {
      const ms = this.#holdsNextWrite;
      this.#holdsNextWrite = undefined;
      return struck({ kind: 'held', ms, inside: true }, `is held up inside for ${ms} ms`);
    }
    if (begins && this.#simulation.now < this.#slowsReadsUntil) {
      const gapMs = faults.random(name).between(20, 200);
      const trouble = struck({ kind: 'slow', gapMs }, `takes ${gapMs} ms a statement`);
      const at = statements.findIndex((statement) => statement.name === 'nodes');
      if (trouble.kind === 'slow' && at !== -1)
        this.events.schedule(gapMs * at + 2, () => this.#plan.onNodesRead(statements[at]?.values?.[0] as readonly number[]));
      return trouble;
    }
    if (!faults.roll(this.#stream, count, conditions.probability)) return { kind: 'none' };
    const random = faults.random(name);
    const ms = random.pick(conditions.heldMs);
    switch (random.below(5)) {
      case 0:
        return struck({ kind: 'breaks', after: false }, 'is lost with its connection');
      case 1:
        return struck({ kind: 'breaks', after: true }, 'breaks its connection before the answer');
      case 2:
        return struck({ kind: 'held', ms, inside: false }, `is held up for ${ms} ms`);
      case 3:
        return struck({ kind: 'held', ms, inside: true }, `is held up inside for ${ms} ms`);
      default: {
        const gapMs = random.between(5, 500);
        return struck({ kind: 'slow', gapMs }, `takes ${gapMs} ms a statement`);
      }
    }
  }

  #connect(
    address: PostgresHost,
    settings: Readonly<Record<string, string>>,
    options: ConnectionOptions,
    run: number,
  ): Promise<DatabaseConnection> {
    const { hosts, rules } = this.#plan;
    const host = hosts.find(({ name }) => 'host' in address && address.host === name);
    if (host === undefined) throw new Error('no such machine');
    return new Promise((resolve, reject) => {
      const arrival = this.arrival(host);
      const fails = (ms: number, why: string): void => this.#afterwards(ms, run, () => reject(new Failure(why)));
      if (arrival > CONNECT_TIMEOUT_MS) return fails(CONNECT_TIMEOUT_MS, 'timeout expired');
      this.#simulation.events.schedule(arrival, () => {
        if (host.state === 'down')
          return host.isOff ? fails(CONNECT_TIMEOUT_MS, 'timeout expired') : fails(1, 'connect ECONNREFUSED');
        const backend = new Backend(host, settings);
        this.#afterwards(this.arrival(host), run, () => {
          const connection = new SimulatedConnection(this, host, backend, options, run, rules);
          this.#connections.add(connection);
          resolve(connection);
        });
      });
    });
  }

  /** What comes to this run of the process. */
  #afterwards(ms: number, run: number, action: () => void): void {
    const { process } = this.#plan;
    this.#simulation.events.schedule(ms, () => {
      if (process.run !== run) return;
      process.receive('takes an answer of the database', () => {
        this.#simulation.unsettled();
        action();
      });
    });
  }

  deliver(host: SimulatedHost, run: number, action: () => void): void {
    this.#afterwards(this.arrival(host), run, action);
  }

  now(): number {
    return this.#simulation.now - this.#startedAt;
  }

  get events(): Simulation['events'] {
    return this.#simulation.events;
  }

  forget(connection: SimulatedConnection): void {
    this.#connections.delete(connection);
  }
}

type Settled = PromiseSettledResult<SqlResult>;

interface Pending {
  readonly count: number;
  readonly resolve: (settled: Settled[]) => void;
}

export class SimulatedConnection implements DatabaseConnection {
  readonly #link: Link;
  readonly #host: SimulatedHost;
  readonly #backend: Backend;
  readonly #options: ConnectionOptions;
  readonly #run: number;
  readonly #rules: LinkRules;
  readonly #pending = new Set<Pending>();
  #notices = 0;
  #isClosed = false;
  #brokenBy = 'the connection ended';
  /** When what was sent last arrives, by the simulation's clock. */
  #lastArrival = 0;

  constructor(link: Link, host: SimulatedHost, backend: Backend, options: ConnectionOptions, run: number, rules: LinkRules) {
    this.#link = link;
    this.#host = host;
    this.#backend = backend;
    this.#options = options;
    this.#run = run;
    this.#rules = rules;
    backend.onBroken = (why): void => link.deliver(host, run, () => this.#broke(why));
    if (backend.isGone) link.deliver(host, run, () => this.#broke('the connection ended'));
  }

  readonly warning: string = 'canceling wait for synchronous replication';

  get notices(): number {
    return this.#rules.hearsWarnings ? this.#notices : 0;
  }

  send(asked: readonly Statement[]): Promise<Settled[]> {
    const { events, process } = this.#link;
    const statements = asked.map((statement) => this.#rules.sent(statement, process));
    return new Promise((resolve) => {
      const pending: Pending = { count: statements.length, resolve };
      // A process that is gone learns nothing more.
      if (!process.up || process.run !== this.#run) return;
      this.#pending.add(pending);
      if (this.#isClosed) return this.#fail(pending);
      const trouble = this.#link.troubleOf(statements);
      if (trouble.kind === 'breaks' && !trouble.after) {
        this.#sendLater(0, () => this.#backend.abandon());
        return this.#link.deliver(this.#host, this.#run, () => this.#broke('read ECONNRESET'));
      }
      const { answerTimeoutMs } = this.#options;
      if (answerTimeoutMs !== undefined)
        events.schedule(answerTimeoutMs, () => {
          if (this.#pending.has(pending)) this.#link.deliver(this.#host, this.#run, () => this.#broke('it did not answer'));
        });
      if (trouble.kind === 'held' && trouble.inside)
        this.#sendLater(0, () => {
          this.#backend.isReading = true;
        });
      this.#sendLater(trouble.kind === 'held' ? trouble.ms : 0, () =>
        this.#backend.receive({
          statements,
          gapMs: trouble.kind === 'slow' ? trouble.gapMs : 0,
          answered: (answers, notices) => {
            if (trouble.kind === 'breaks') {
              this.#backend.abandon();
              return this.#link.deliver(this.#host, this.#run, () => this.#broke('read ECONNRESET'));
            }
            this.#link.deliver(this.#host, this.#run, () => this.#answer(pending, answers, notices));
          },
        }),
      );
    });
  }

  async run(...statements: readonly Statement[]): Promise<SqlResult[]> {
    const settled = await this.send(statements);
    return settled.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    });
  }

  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }

  /** What was sent before still arrives. */
  destroy(): void {
    if (!this.#isClosed) this.#sendLater(0, () => this.#backend.abandon());
    this.#end();
  }

  /** The machine has failed: the database gets no notice, and data in flight are lost. */
  vanish(): void {
    this.#link.events.schedule(KEEPALIVE_MS, () => this.#host.terminate(this.#backend, 'could not receive data from client'));
    this.#end();
  }

  #end(): void {
    this.#isClosed = true;
    this.#link.forget(this);
    for (const pending of this.#pending) this.#fail(pending);
  }

  #broke(why: string): void {
    if (this.#isClosed) return;
    this.#brokenBy = why;
    this.#end();
    this.#options.onBroken?.(why);
  }

  #fail(pending: Pending): void {
    this.#pending.delete(pending);
    const { process } = this.#link;
    if (!process.up || process.run !== this.#run) return;
    pending.resolve(
      Array.from({ length: pending.count }, () => ({
        status: 'rejected' as const,
        reason: new ConnectionFailure(this.#brokenBy),
      })),
    );
  }

  #answer(pending: Pending, answers: readonly Answer[], notices: number): void {
    if (!this.#pending.delete(pending)) return;
    this.#notices += notices;
    const at = this.#link.now();
    pending.resolve(
      answers.map((answer) =>
        'failure' in answer
          ? { status: 'rejected' as const, reason: answer.failure }
          : { status: 'fulfilled' as const, value: { ...answer.result, at } },
      ),
    );
  }

  /** Arrives after all that was sent before. */
  #sendLater(heldMs: number, action: () => void): void {
    const { events } = this.#link;
    this.#lastArrival = Math.max(this.#lastArrival, events.now + this.#link.arrival(this.#host) + heldMs);
    events.schedule(this.#lastArrival - events.now, action);
  }
}
