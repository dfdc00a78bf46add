/**
 * Plays thousands of nodes in one process: as node-agent does it, with as little CPU time as can
 * be, so that what is measured is the other side. An Echo is each node's own, as it is where each
 * has its own address; deadlines are the node's, on one timer wheel.
 */

import { randomFillSync } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { backOff, LENGTH, TRANSACTION_LIFETIME_MS } from '@latchkey/protocol';
import { parseEndpoint } from '@latchkey/runtime/net';
import { Fleet, initialKey } from '../registry/fleet.js';

import { VirtualNode, type Proof } from './virtual-node.js';
import { type LoadTarget, percentile, type LoadProfile, type LoadResult } from './load-profile.js';
import { NO_TICK, TimerWheel, type Scheduled } from './timer-wheel.js';
import { CODE, packRequest, readAnswer } from './wire.js';

/** RFC 7252 section 4.8: ACK_TIMEOUT, ACK_RANDOM_FACTOR - 1, MAX_RETRANSMIT. */
const ACK_TIMEOUT_MS = 2_000;
const RANDOM_PART = 0.5;
const MAX_RETRANSMIT = 4;
/**
 * As node-agent: for an M4 to come, and between an M5 that was refused for the moment and the next.
 */
const M4_DEADLINE_MS = 30_000;
const M5_PAUSE_MS = 2_000;
const RETRYABLE: ReadonlySet<number> = new Set([0x9d, 0xa3, 0xa4]);
/** A storm that is not over by then is given up. */
const STORM_TIMEOUT_MS = 600_000;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const RANDOM_POOL = 16 * 1024;

/** One attempt to join. */
interface Attempt extends Scheduled {
  readonly node: VirtualNode | undefined;
  readonly channel: Channel;
  /** When it was to begin: latency counts from here. In a storm: when the first attempt was. */
  readonly since: number;
  readonly failures: number;
  readonly m1: Buffer;
  token: number;
  datagram: Buffer;
  payload: Buffer;
  transmissions: number;
  timeoutMs: number;
  /** When the exchange is given up. */
  deadline: number;
  endsAt: number;
  echo: Buffer | undefined;
  proof: Proof | undefined;
  step: 'M1' | 'M5' | 'pause' | 'back-off';
}

interface Channel {
  readonly socket: Socket;
  nextMessageId: number;
}

export class LoadClient {
  readonly #channels: readonly Channel[];
  readonly #nodes: readonly VirtualNode[];
  readonly #wheel: TimerWheel<Attempt> = new TimerWheel((attempt) => this.#due(attempt));
  readonly #byToken = new Map<number, Attempt>();
  readonly #random: Buffer = Buffer.alloc(RANDOM_POOL);
  #randomAt: number = RANDOM_POOL;
  #nextNode = 0;
  #nextChannel = 0;
  #nextToken = 0;
  #run = new PlanRun();

  private constructor(cast: LoadTarget, channels: readonly Channel[]) {
    this.#channels = channels;
    const fleet = new Fleet(cast.nodes);
    const played = cast.workload === 'join' ? cast.nodes : 0;
    this.#nodes = Array.from({ length: played }, (_, i) => new VirtualNode(fleet.idI(i), initialKey(i)));
    for (const channel of channels) channel.socket.on('message', (octets) => this.#receive(octets));
  }

  static async open(cast: LoadTarget): Promise<LoadClient> {
    const to = parseEndpoint(cast.to);
    if (to === undefined) throw new Error(`${cast.to} is not HOST:PORT`);
    const channels: Channel[] = [];
    for (let i = 0; i < cast.sockets; i++) {
      const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
      socket.bind(0, `127.1.${i >> 8}.${i & 0xff}`);
      await once(socket, 'listening');
      socket.connect(to.port, to.host);
      await once(socket, 'connect');
      // What the daemon's end says through ICMP is a datagram lost, no more.
      socket.on('error', () => undefined);
      channels.push({ socket, nextMessageId: Math.floor(Math.random() * 0x10000) });
    }
    return new LoadClient(cast, channels);
  }

  async play(plan: LoadProfile): Promise<LoadResult> {
    const run = new PlanRun();
    this.#run = run;
    run.retriesFailures = plan.kind === 'storm';
    switch (plan.kind) {
      case 'closed':
        run.stopAt = run.startedAt + plan.ms;
        run.remaining = plan.joins ?? Infinity;
        run.isClosedLoop = true;
        for (let i = 0; i < plan.inFlight && i < run.remaining + i; i++) this.#startNext();
        break;
      case 'storm':
        run.stopAt = run.startedAt + STORM_TIMEOUT_MS;
        for (let i = 0; i < plan.joins; i++) this.#start(run.startedAt);
        break;
      case 'open':
        await this.#startAtRate(plan.perSecond, run.startedAt + plan.ms);
        run.stopAt = run.startedAt + plan.ms;
        break;
    }
    await run.idle();
    return run.outcome();
  }

  close(): void {
    this.#wheel.close();
    for (const { socket } of this.#channels) socket.close();
  }

  /**
   * Poisson arrivals. What is due is begun a millisecond late at most, and latency counts from when
   * it was due.
   */
  async #startAtRate(perSecond: number, until: number): Promise<void> {
    const interval = (): number => (-Math.log(1 - Math.random()) * 1000) / perSecond;
    let next = performance.now() + interval();
    while (next < until) {
      const now = performance.now();
      for (; next <= now && next < until; next += interval()) this.#start(next);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #startNext(): void {
    const run = this.#run;
    const now = performance.now();
    if (!run.isClosedLoop || run.remaining <= 0 || now >= run.stopAt) return;
    run.remaining -= 1;
    this.#start(now);
  }

  #start(since: number): void {
    const node = this.#nodes[this.#nextNode];
    this.#nextNode = (this.#nextNode + 1) % Math.max(this.#nodes.length, 1);
    this.#run.inFlight += 1;
    this.#attempt(node, since, 0);
  }

  #attempt(node: VirtualNode | undefined, since: number, failures: number): void {
    const channel = this.#channels[this.#nextChannel];
    if (channel === undefined) throw new Error('no sockets');
    this.#nextChannel = (this.#nextChannel + 1) % this.#channels.length;
    const now = performance.now();
    const m1 = node?.m1(this.#random16()) ?? Buffer.alloc(LENGTH.M1);
    const attempt: Attempt = {
      node,
      channel,
      since,
      failures,
      m1,
      token: 0,
      datagram: m1,
      payload: m1,
      transmissions: 0,
      timeoutMs: 0,
      deadline: now + M4_DEADLINE_MS,
      endsAt: now + TRANSACTION_LIFETIME_MS,
      echo: undefined,
      proof: undefined,
      step: 'M1',
      dueAt: Infinity,
      tick: NO_TICK,
    };
    this.#send(attempt, now);
  }

  /** A new request with the attempt's payload. */
  #send(attempt: Attempt, now: number): void {
    const { channel } = attempt;
    this.#nextToken = (this.#nextToken + 1) >>> 0;
    attempt.token = this.#nextToken;
    this.#byToken.set(attempt.token, attempt);
    attempt.datagram = packRequest(channel.nextMessageId, attempt.token, attempt.echo, attempt.payload);
    channel.nextMessageId = (channel.nextMessageId + 1) & 0xffff;
    attempt.transmissions = 0;
    attempt.timeoutMs = ACK_TIMEOUT_MS * (1 + Math.random() * RANDOM_PART);
    this.#transmit(attempt, now);
  }

  #transmit(attempt: Attempt, now: number): void {
    attempt.transmissions += 1;
    attempt.dueAt = Math.min(now + attempt.timeoutMs, attempt.deadline);
    attempt.timeoutMs *= 2;
    this.#wheel.add(attempt);
    this.#run.sent(attempt.datagram.length);
    attempt.channel.socket.send(attempt.datagram);
  }

  #due(attempt: Attempt): void {
    const now = performance.now();
    switch (attempt.step) {
      case 'pause':
        attempt.step = 'M5';
        attempt.deadline = attempt.endsAt;
        return this.#send(attempt, now);
      case 'back-off':
        return this.#attempt(attempt.node, attempt.since, attempt.failures + 1);
      case 'M1':
      case 'M5':
        if (now >= attempt.deadline) return this.#fail(attempt, `${attempt.step}: no answer`, 0);
        if (attempt.transmissions > MAX_RETRANSMIT) {
          attempt.dueAt = attempt.deadline;
          return this.#wheel.add(attempt);
        }
        this.#run.retransmissions += 1;
        this.#transmit(attempt, now);
    }
  }

  #receive(octets: Buffer): void {
    this.#run.received(octets.length);
    const answer = readAnswer(octets);
    const attempt = answer && this.#byToken.get(answer.token);
    if (answer === undefined || attempt === undefined) return;
    const now = performance.now();
    if (answer.code === CODE.changed) {
      const goesOn = attempt.step === 'M1' ? this.#receiveM4(attempt, answer.payload) : this.#receiveM6(attempt, answer.payload);
      // What does not open is no answer.
      if (goesOn === 'ignored') return;
      this.#byToken.delete(answer.token);
      if (goesOn === 'send') this.#send(attempt, now);
      else this.#done(attempt, now);
      return;
    }
    this.#byToken.delete(answer.token);
    if (answer.code === CODE.unauthorized && answer.echo !== undefined && attempt.echo === undefined) {
      this.#run.echoes += 1;
      attempt.echo = Buffer.from(answer.echo);
      return this.#send(attempt, now);
    }
    this.#refused(attempt, answer.code, answer.maxAge, now);
  }

  #receiveM4(attempt: Attempt, m4: Buffer): 'send' | 'ignored' {
    if (attempt.node === undefined) attempt.payload = Buffer.alloc(LENGTH.M5, 1);
    else {
      attempt.proof = attempt.node.prove(m4, attempt.m1);
      if (attempt.proof === undefined) return 'ignored';
      attempt.payload = attempt.proof.m5;
    }
    attempt.step = 'M5';
    attempt.deadline = attempt.endsAt;
    return 'send';
  }

  #receiveM6({ node, proof }: Attempt, m6: Buffer): 'done' | 'ignored' {
    return node === undefined || (proof !== undefined && node.confirm(m6, proof)) ? 'done' : 'ignored';
  }

  #done(attempt: Attempt, now: number): void {
    attempt.dueAt = Infinity;
    this.#run.joined(now, now - attempt.since);
    this.#startNext();
    this.#run.endIfIdle();
  }

  #refused(attempt: Attempt, code: number, maxAge: number, now: number): void {
    const again = now + M5_PAUSE_MS + 1000 * maxAge;
    if (attempt.step === 'M5' && RETRYABLE.has(code) && again < attempt.endsAt) {
      attempt.step = 'pause';
      attempt.dueAt = again;
      return this.#wheel.add(attempt);
    }
    this.#fail(attempt, `${attempt.step}: ${code >> 5}.${String(code & 31).padStart(2, '0')}`, maxAge);
  }

  #fail(attempt: Attempt, end: string, maxAge: number): void {
    const run = this.#run;
    this.#byToken.delete(attempt.token);
    run.fail(end);
    if (run.retriesFailures && performance.now() < run.stopAt) {
      attempt.step = 'back-off';
      attempt.dueAt = performance.now() + backOff(attempt.failures + 1, Math.random(), maxAge);
      return this.#wheel.add(attempt);
    }
    attempt.dueAt = Infinity;
    run.inFlight -= 1;
    this.#startNext();
    run.endIfIdle();
  }

  #random16(): Buffer {
    if (this.#randomAt + 16 > RANDOM_POOL) {
      randomFillSync(this.#random);
      this.#randomAt = 0;
    }
    this.#randomAt += 16;
    return this.#random.subarray(this.#randomAt - 16, this.#randomAt);
  }
}

/** One plan being played, and its counts. */
class PlanRun {
  readonly startedAt: number = performance.now();
  readonly #cpu = process.cpuUsage();
  /** No new attempt from then on. */
  stopAt = Infinity;
  remaining = Infinity;
  isClosedLoop = false;
  retriesFailures = false;
  inFlight = 0;
  retransmissions = 0;
  echoes = 0;
  readonly #latencies: number[] = [];
  readonly #ends = new Map<string, number>();
  #joinsInTime = 0;
  #failed = 0;
  #datagrams = 0;
  #octets = 0;
  #last: number = this.startedAt;
  #whenIdle: (() => void) | undefined;

  sent(octets: number): void {
    this.#datagrams += 1;
    this.#octets += octets;
  }

  received(octets: number): void {
    this.sent(octets);
  }

  joined(now: number, latency: number): void {
    this.inFlight -= 1;
    this.#latencies.push(latency);
    this.#last = now;
    if (now <= this.stopAt) this.#joinsInTime += 1;
  }

  fail(end: string): void {
    this.#failed += 1;
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1);
  }

  endIfIdle(): void {
    if (this.inFlight === 0) this.#whenIdle?.();
  }

  idle(): Promise<void> {
    return this.inFlight === 0 ? Promise.resolve() : new Promise((resolve) => (this.#whenIdle = resolve));
  }

  outcome(): LoadResult {
    const sorted = Float64Array.from(this.#latencies).toSorted();
    const { user, system } = process.cpuUsage(this.#cpu);
    // Where none was through in time there is no rate but that of all.
    const [counted, wall] =
      this.#joinsInTime > 0
        ? [this.#joinsInTime, Math.min(this.stopAt, this.#last) - this.startedAt]
        : [sorted.length, this.#last - this.startedAt];
    return {
      joins: sorted.length,
      failed: this.#failed,
      ms: this.#last - this.startedAt,
      perSecond: (counted * 1000) / wall,
      p50: percentile(sorted, 0.5),
      p90: percentile(sorted, 0.9),
      p99: percentile(sorted, 0.99),
      p999: percentile(sorted, 0.999),
      max: percentile(sorted, 1),
      datagrams: this.#datagrams,
      octets: this.#octets,
      retransmissions: this.retransmissions,
      echoes: this.echoes,
      cpuMs: (user + system) / 1000,
      failureReasons: Object.fromEntries(this.#ends),
    };
  }
}
