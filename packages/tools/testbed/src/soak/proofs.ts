/**
 * A pass-through controller cannot tell a wrong M5 from a right one. Wrong ones come for the
 * transaction of a node, 1,000 a second from 10,000 sources, for nearly as long as the transaction
 * lives. Then the node sends its own, from the address that it has proven, and must get its M6.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { CoapClient, type Response } from '@latchkey/coap';
import { type AwaitingM6, beginAttempt, type NodeState, receiveM4, receiveM6, TRANSACTION_LIFETIME_MS } from '@latchkey/protocol';
import { randomBytes } from 'node:crypto';
import type { Campaign, Scale } from './campaign.js';
import { endpointOf, nodeOnDisk, SoakEnvironment } from './environment.js';

interface ProofsSize {
  readonly sources: number;
  /** Transactions, one after the other. */
  readonly rounds: number;
  /** From M4 to the right M5. A transaction lives 60 s. */
  readonly floodMs: number;
}

const SIZES: Readonly<Record<Scale, ProofsSize>> = {
  full: { sources: 10_000, rounds: 3, floodMs: 50_000 },
  medium: { sources: 10_000, rounds: 1, floodMs: 50_000 },
  short: { sources: 1_000, rounds: 2, floodMs: 3_000 },
};

const FLOODER = fileURLToPath(new URL('../../dist/soak/proof-flooder.js', import.meta.url));
/** M1 is given up after so long, in ms. */
const M4_TIMEOUT_MS = 120_000;
/** A right M5 that is sent later in the life of its transaction shows nothing, in ms. */
const LATEST_M5_MS = TRANSACTION_LIFETIME_MS - 5_000;
/** Rounds that a busy machine makes too long are played again so often. */
const MAX_REPEATS = 5;
const RETRY_MS = 500;

interface FloodResult {
  readonly sent: number;
  readonly challenged: number;
  readonly proven: number;
  readonly seconds: number;
}

export const proofs: Campaign = async ({ scale, report }) => {
  const { sources, rounds, floodMs } = SIZES[scale];
  const environment = await SoakEnvironment.create({ passThrough: true });
  try {
    const [node] = await environment.install({ count: 1 });
    if (node === undefined) throw new Error('no node was ordered');
    const [server, controller] = [environment.startAuthServer(), environment.startController()];
    await Promise.all([server.listening(), controller.listening()]);
    const { port } = endpointOf(environment.controllerAddress);
    const flooder = new ProofFlooder(port, sources);
    await flooder.ready();

    let { state } = await nodeOnDisk(node);
    const failures: string[] = [];
    const waits: number[] = [];
    const sockets: CoapClient[] = [];
    for (let [round, repeats] = [1, 0]; round <= rounds;) {
      const socket = await CoapClient.connect({
        peer: endpointOf(environment.controllerAddress),
        tokenLength: 4,
        maxInFlight: 1,
      });
      sockets.push(socket);
      const client = new ProvenNode(socket);
      const opened = performance.now();
      const { attempt, state: before } = await client.begin(state);
      state = before;
      flooder.aimAt(attempt.tid);
      await pause(floodMs);
      const began = performance.now();
      const joined = await client.finish(state, attempt, opened + TRANSACTION_LIFETIME_MS);
      if (joined === undefined && began - opened > LATEST_M5_MS && repeats++ < MAX_REPEATS) continue;
      waits.push(Math.round(performance.now() - began));
      if (joined === undefined) failures.push(`the right M5 of transaction ${round} got no M6`);
      else state = joined;
      report(`${round} of ${rounds} transactions`);
      round += 1;
    }
    await Promise.all(sockets.map((socket) => socket.close()));
    const flooded = await flooder.stop();
    if (flooded.challenged === 0) failures.push('no source was asked to prove its address');
    return {
      counts: {
        sources,
        transactions: rounds,
        'wrong M5': flooded.sent,
        'of them again, with a proof of the address': flooded.proven,
        seconds: flooded.seconds,
        'from the right M5 to its M6, at most, ms': Math.max(...waits),
      },
      failures,
    };
  } finally {
    await environment.network.remove();
  }
};

class ProofFlooder {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ready: Promise<void>;
  #result: FloodResult | undefined;

  constructor(port: number, sources: number) {
    this.#child = spawn(process.execPath, [FLOODER, String(port), String(sources)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#ready = new Promise((resolve, reject) => {
      this.#child.once('close', () => reject(new Error('the flooder ended early')));
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        const said = JSON.parse(line) as FloodResult & { readonly msg: string };
        if (said.msg === 'ready') resolve();
        else this.#result = said;
      });
    });
  }

  ready(): Promise<void> {
    return this.#ready;
  }

  aimAt(tid: bigint): void {
    this.#child.stdin.write(`${tid.toString(16).padStart(16, '0')}\n`);
  }

  async stop(): Promise<FloodResult> {
    const closed = once(this.#child, 'close');
    this.#child.stdin.end();
    await closed;
    if (this.#result === undefined) throw new Error('the flooder ended early');
    return this.#result;
  }
}

/** A node that proves its address before it asks, and takes its time between M4 and M5. */
class ProvenNode {
  readonly #client: CoapClient;
  #echo: Buffer | undefined;

  constructor(client: CoapClient) {
    this.#client = client;
  }

  async begin(state: NodeState): Promise<{ readonly attempt: AwaitingM6; readonly state: NodeState }> {
    const monotonicMs = performance.now();
    // Two M1 at once: the second is asked for a proof, since a transaction of its node is open.
    for (let i = 0; this.#echo === undefined; i++) {
      if (i > 4) throw new Error('the controller asks for no proof of the address');
      await this.#ask(beginAttempt(state, randomBytes(16), monotonicMs).m1, () => true);
    }
    const awaitingM4 = beginAttempt(state, randomBytes(16), monotonicMs);
    const decision = await this.#ask(awaitingM4.m1, ({ payload }) => {
      const judged = receiveM4(state, awaitingM4, payload, monotonicMs);
      return judged.kind === 'store' ? judged : undefined;
    });
    if (decision === undefined) throw new Error('the node got no M4');
    return { attempt: decision.attempt, state: decision.state };
  }

  /** Gives what the node holds after M6; `undefined`: none came. */
  async finish(state: NodeState, attempt: AwaitingM6, until: number): Promise<NodeState | undefined> {
    const decision = await this.#ask(
      attempt.m5,
      ({ payload }) => {
        const judged = receiveM6(state, attempt, payload);
        return judged.kind === 'joined' ? judged : undefined;
      },
      until,
    );
    return decision?.state;
  }

  /**
   * Asks until there is an answer that counts, with the proof that the controller asked for last.
   */
  async #ask<T>(
    payload: Uint8Array,
    accept: (response: Response) => T | undefined,
    end: number = performance.now() + M4_TIMEOUT_MS,
  ): Promise<T | undefined> {
    while (performance.now() < end) {
      const outcome = await this.#client.exchange<{ readonly value: T | undefined; readonly isChallenged: boolean }>({
        payload,
        deadlineMs: end - performance.now(),
        echo: this.#echo,
        maxIgnored: 0,
        accept: (response) => {
          const isChallenged = response.echo !== undefined;
          if (isChallenged) this.#echo = response.echo;
          return { value: response.code === '2.04' ? accept(response) : undefined, isChallenged };
        },
      });
      if (outcome.kind === 'answered' && outcome.value.value !== undefined) return outcome.value.value;
      if (outcome.kind !== 'answered' || !outcome.value.isChallenged) await pause(RETRY_MS);
    }
    return undefined;
  }
}
