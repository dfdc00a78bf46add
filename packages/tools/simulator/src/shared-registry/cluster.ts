/**
 * The machines of a cluster: its primary, the data that standbys receive, and faults. An operator,
 * or Patroni, ensures that one of them serves in the end.
 */

import type { Simulation } from '../simulation.js';
import type { Process } from '../process.js';
import { SimulatedHost } from './host.js';
import type { Link } from './link.js';
import type { Change, Tables } from './tables.js';

/** From writing to the log until a standby has it, in ms. */
const STREAM_MS = 1;

/**
 * Something that happens to the database, at a set time, in ms. `onJoin`: from then on, as soon as
 * a join is written, and before a standby has it.
 */
export type DatabaseIncident = { readonly at: number; readonly onJoin?: boolean } & (
  | {
      /** The primary is gone; a standby is promoted after some time. */
      readonly what: 'failover';
      readonly how: 'killed' | 'power lost' | 'cut off from standbys';
      readonly promotedAfterMs: number;
      readonly backAfterMs: number;
      /** Just before, standbys receive nothing for so long: what is written then is lost. */
      readonly blindMs: number;
      /** Just before, the primary is restarted: what no standby has is visible. */
      readonly restarts: boolean;
      /** An operator empties the names of standbys at a primary that has none. */
      readonly emptied: boolean;
    }
  /** A standby that lacks acknowledged writes is promoted, and abandoned again. */
  | { readonly what: 'loss'; readonly lagMs: number; readonly servesMs: number }
  | { readonly what: 'restart'; readonly downMs: number }
  | { readonly what: 'blind'; readonly ms: number }
  | { readonly what: 'waits cancelled'; readonly terminated: boolean; readonly blindMs: number }
  | { readonly what: 'cut'; readonly server: number; readonly ms: number; readonly all: boolean }
  | { readonly what: 'stall'; readonly server: number; readonly ms: number }
  | { readonly what: 'late half'; readonly server: number; readonly ms: number }
  | { readonly what: 'slow reads'; readonly ms: number }
  | { readonly what: 'machine clock'; readonly host: number; readonly error: number }
);

export interface ClusterPlan {
  /** True time and the error of the clock that all machines go by, ms since the epoch. */
  readonly wall: () => number;
  readonly onVisible: (changes: readonly Change[]) => void;
  /** Another machine is the primary, or the same with another state. */
  readonly onPromoted: () => void;
  /** Something befell the database. */
  readonly onFault: () => void;
}

/** A node's key is replaced. */
function isJoin({ table, row }: Change): boolean {
  return table === 'nodes' && row?.['initial'] === false;
}

export class Cluster {
  readonly hosts: readonly SimulatedHost[];
  readonly #simulation: Simulation;
  readonly #plan: ClusterPlan;
  /** The machine whose state counts: the primary that was promoted last. */
  #main: SimulatedHost;
  #timeline = 1;
  #isStreaming = false;
  /** A failover or a restart is under way. */
  #isBusy = false;
  readonly #links: Link[] = [];
  /** What waits for a join. */
  readonly #onJoin: (() => void)[] = [];

  constructor(simulation: Simulation, plan: ClusterPlan) {
    this.#simulation = simulation;
    this.#plan = plan;
    const names = ['db1', 'db2', 'db3'];
    const random = simulation.random('database clocks');
    this.hosts = names.map((name) => {
      const host: SimulatedHost = new SimulatedHost(simulation, {
        name,
        others: names.filter((other) => other !== name),
        wall: () => plan.wall() + host.clockError,
        onLog: ({ changes }) => {
          if (host === this.#main && changes.some(isJoin)) for (const action of this.#onJoin.splice(0)) action();
          this.#stream();
        },
        onVisible: (changes) => {
          if (host === this.#main) plan.onVisible(changes);
        },
      });
      // As NTP keeps them.
      host.clockError = random.between(-300, 300);
      return host;
    });
    const [first] = this.hosts;
    if (first === undefined) throw new Error('a cluster has machines');
    this.#main = first;
    first.serve(this.#timeline);
    for (const host of this.hosts) if (host !== first) host.upstream = first;
  }

  /** All that it is taken for now. */
  get tables(): Tables {
    return this.#main.tables;
  }

  get main(): SimulatedHost {
    return this.#main;
  }

  /** True if no fault keeps servers from answering. */
  get isCalm(): boolean {
    return !this.#isBusy && this.#main.state === 'primary' && this.hosts.every(({ isDetached }) => !isDetached);
  }

  add(link: Link): void {
    this.#links.push(link);
  }

  /** Puts rows in before anything runs. */
  putInitially(changes: readonly Change[]): void {
    for (const host of this.hosts) host.log.push({ changes });
    this.#main.serve(this.#timeline);
  }

  /**
   * @param servers their processes
   * @param haveAllSeen whether each of them serves now, and has seen an entry
   */
  apply(name: string, incident: DatabaseIncident, servers: readonly Process[], haveAllSeen: (seq: number) => boolean): void {
    const strike = (): void => this.#apply(name, incident, servers, haveAllSeen);
    if (incident.onJoin === true) this.#onJoin.push(strike);
    else strike();
  }

  #apply(name: string, incident: DatabaseIncident, servers: readonly Process[], haveAllSeen: (seq: number) => boolean): void {
    const { faults, events } = this.#simulation;
    const strikes = (what: string): boolean => {
      if (!faults.trigger(`${name}: ${what}`)) return false;
      this.#simulation.record('db', what);
      this.#plan.onFault();
      return true;
    };
    switch (incident.what) {
      case 'failover': {
        const { how, promotedAfterMs, backAfterMs, blindMs, restarts, emptied } = incident;
        if (this.#isBusy || this.#main.state !== 'primary') return;
        const what = `the primary is ${how}${blindMs > 0 ? `, after ${blindMs} ms without standbys` : ''}${restarts ? ' and a restart' : ''}${emptied ? ', its names emptied' : ''}`;
        if (!strikes(what)) return;
        this.#isBusy = true;
        const old = this.#main;
        this.#detachStandbys(true);
        events.schedule(Math.floor(blindMs / 2), () => {
          if (!restarts || faults.over) return;
          old.crash('terminating connection due to administrator command');
          old.serve(old.timeline);
          this.#plan.onPromoted();
        });
        events.schedule(blindMs, () => {
          if (faults.over) return;
          if (emptied) this.#empty(old);
          if (how !== 'cut off from standbys') old.crash(how === 'killed' ? 'the database system is shutting down' : undefined);
          events.schedule(promotedAfterMs, () => {
            if (!faults.over) this.#promote();
          });
          events.schedule(promotedAfterMs + backAfterMs, () => {
            if (!faults.over) this.#takeBack();
          });
        });
        return;
      }
      case 'loss': {
        if (this.#isBusy || this.#main.state !== 'primary') return;
        const standby = this.#standbys().at(-1);
        if (standby === undefined) return;
        if (!strikes('a standby that lacks what was acknowledged is promoted')) return;
        standby.isDetached = true;
        const last = (this.#main.tables.lastEntry?.['seq'] as number | undefined) ?? 0;
        events.schedule(incident.lagMs, () => {
          if (faults.over || this.#isBusy || !haveAllSeen(last + 1)) {
            if (!this.#isBusy) standby.isDetached = false;
            return;
          }
          this.#isBusy = true;
          for (const host of this.hosts) if (host !== standby) host.crash('the database system is shutting down');
          this.#timeline += 1;
          standby.serve(this.#timeline);
          for (const host of this.hosts) if (host !== standby && host !== this.#main) host.follow(standby);
          events.schedule(incident.servesMs, () => {
            if (!faults.over) this.#giveUp();
          });
        });
        return;
      }
      case 'restart': {
        if (this.#isBusy || this.#main.state !== 'primary' || !strikes(`the primary is restarted in ${incident.downMs} ms`))
          return;
        this.#isBusy = true;
        this.#main.crash('terminating connection due to administrator command');
        events.schedule(incident.downMs, () => {
          if (!faults.over) this.#takeBack();
        });
        return;
      }
      case 'blind':
        if (this.#isBusy || !strikes(`no standby receives anything for ${incident.ms} ms`)) return;
        this.#detachStandbys(true);
        events.schedule(incident.ms, () => {
          if (!this.#isBusy) this.#detachStandbys(false);
        });
        return;
      case 'waits cancelled': {
        if (this.#isBusy) return;
        const { terminated, blindMs } = incident;
        if (!strikes(`${blindMs} ms without standbys, then waits for them are ${terminated ? 'terminated' : 'cancelled'}`))
          return;
        this.#detachStandbys(true);
        events.schedule(blindMs, () => {
          this.#main.cancelWaits(terminated);
          events.schedule(500, () => {
            if (!this.#isBusy) this.#detachStandbys(false);
          });
        });
        return;
      }
      case 'cut': {
        const { server, ms, all } = incident;
        const link = this.#links[server];
        if (
          link === undefined ||
          !strikes(`${link.process.name} is cut off from ${all ? 'the database' : 'the primary'} for ${ms} ms`)
        )
          return;
        link.cut(ms, all ? undefined : this.#main.name);
        return;
      }
      case 'stall': {
        const process = servers[incident.server];
        if (process !== undefined && strikes(`${process.name} is stopped for ${incident.ms} ms`)) process.suspend(incident.ms);
        return;
      }
      case 'late half': {
        const link = this.#links[incident.server];
        // That of a write of its own name: see the link.
        link?.holdNextWrite(incident.ms);
        return;
      }
      case 'slow reads':
        for (const link of this.#links) link.slowReads(incident.ms);
        return;
      case 'machine clock': {
        const host = this.hosts[incident.host];
        if (host !== undefined && strikes(`the clock of ${host.name} is ${incident.error} ms off`))
          host.clockError = incident.error;
      }
    }
  }

  /** How far the primary's clock is off, in ms. */
  get clockError(): number {
    return this.#main.clockError;
  }

  /** Faults have ended: whatever is under way comes to its end. */
  heal(): void {
    for (const link of this.#links) link.heal();
    for (const host of this.hosts) if (Math.abs(host.clockError) > 300) host.clockError = 0;
    this.#plan.onFault();
    for (const host of this.hosts) if (host !== this.#main && host.upstream !== this.#main) host.follow(this.#main);
    this.#takeBack();
  }

  #standbys(): SimulatedHost[] {
    return this.hosts.filter((host) => host.state === 'standby');
  }

  #detachStandbys(isDetached: boolean): void {
    for (const host of this.#standbys()) host.isDetached = isDetached;
    if (!isDetached) this.#stream();
  }

  #empty(host: SimulatedHost): void {
    host.hasNames = false;
    host.release(Infinity);
  }

  /** The standby that has received most takes over. */
  #promote(): void {
    const [first, ...rest] = this.#standbys();
    if (first === undefined) return;
    const best = rest.reduce((one, host) => (host.log.length > one.log.length ? host : one), first);
    this.#timeline += 1;
    best.serve(this.#timeline);
    this.#main = best;
    for (const host of rest.concat(first)) {
      if (host === best) continue;
      host.timeline = this.#timeline;
      host.isDetached = false;
      host.upstream = best;
      host.log = best.log.slice();
    }
    this.#simulation.record('db', `${best.name} is promoted`);
    this.#plan.onFault();
    this.#plan.onPromoted();
  }

  /** The main one serves; all that is not, follows it. */
  #takeBack(): void {
    if (this.#main.state !== 'primary') {
      this.#main.serve(this.#main.timeline);
      this.#plan.onPromoted();
    }
    this.#main.hasNames = true;
    for (const host of this.hosts) if (host !== this.#main && host.state !== 'standby') host.follow(this.#main);
    this.#detachStandbys(false);
    this.#isBusy = false;
    this.#simulation.record('db', 'all machines run');
    this.#plan.onFault();
  }

  /** The machines that have everything are back, and serve. */
  #giveUp(): void {
    this.#timeline += 1;
    this.#main.serve(this.#timeline);
    for (const host of this.hosts) if (host !== this.#main) host.follow(this.#main);
    this.#plan.onPromoted();
    this.#takeBack();
  }

  #stream(): void {
    if (this.#isStreaming) return;
    this.#isStreaming = true;
    this.#simulation.events.schedule(STREAM_MS, () => {
      this.#isStreaming = false;
      for (const { state, isDetached, upstream, log } of this.hosts) {
        if (state !== 'standby' || isDetached || upstream?.state !== 'primary') continue;
        for (const record of upstream.log.slice(log.length)) log.push(record);
        upstream.release(log.length);
      }
    });
  }
}
