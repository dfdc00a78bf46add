/**
 * One attempt to get a new key, M1 to M6, over CoAP. The initiator decides on messages; this file
 * executes its decisions, in an order in which no crash causes a lockout. The candidate is on the
 * disk before M5 is sent. The confirmed key is on the disk before it is reported.
 */

import { randomBytes, randomInt } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type AwaitingM6,
  beginAttempt,
  scheduleRenewal,
  MAX_IGNORED_ANSWERS,
  type M4Decision,
  type M6Decision,
  receiveM4,
  receiveM6,
  RN_LENGTH,
  type Secret,
  TRANSACTION_LIFETIME_MS,
} from '@latchkey/protocol';
import { addressesOf, type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { CoapClient, type ExchangeOutcome, type Response } from '@latchkey/coap';
import { type Log, monotonicNow, type ProcessTime } from '@latchkey/runtime/daemon';
import type { AttemptResult, FailedExchange } from './attempt-result.js';
import type { NodeMetrics } from './metrics.js';
import { formerKeyOf, leaseOfPromoted } from './key-lease.js';
import type { NodeFile } from './node-file.js';
import type { CumulativeUptime } from './cumulative-uptime.js';

/**
 * Octets of token. Two would do (profile, "CoAP binding"); four cost an off-path forger more and
 * still fit one frame.
 */
const TOKEN_LENGTH = 4;
/**
 * Timeout of M4 and of M6, in ms: four of CoAP's five transmissions. After it, M5 is sent a second
 * time, from a new socket.
 */
const M4_TIMEOUT_MS = 30_000;
const M5_DEADLINE_MS = 30_000;
/**
 * Timeout for a right answer after an empty ACK or an undecryptable answer, in ms: a controller
 * waits 15 s for its auth-servers.
 */
const GRACE_MS = 16_000;
/**
 * Between an M5 that was refused for the moment, or not answered, and the next, at least, in ms.
 */
const M5_RETRY_DELAY_MS = 2_000;
/** Number of values of a random number in [0, 1). */
const RANDOM_RANGE = 2 ** 32;
const COAP_CHANGED = '2.04';
const COAP_UNAUTHORIZED = '4.01';
/** Refusals of M5 that pass by themselves while the transaction is open. */
const RETRYABLE: ReadonlySet<string> = new Set(['4.29', '5.03', '5.04']);
/**
 * Any other refusal is believed the second time: the first may be anybody's, or the answer to an M5
 * that was damaged on its way.
 */
const REFUSALS_RETRIED = 1;

export interface AttemptOptions {
  readonly file: Pick<NodeFile, 'record' | 'write'>;
  readonly controller: Endpoint;
  /**
   * Number of earlier attempts at this controller. A name may have several addresses, and each is
   * tried first in turn.
   */
  readonly turn: number;
  readonly uptime: Pick<CumulativeUptime, 'now' | 'clocks' | 'save'>;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly metrics: NodeMetrics;
  /** Called once a message is on its way, and there is nothing to do but to wait for the answer. */
  readonly onSent: () => void;
}

/** How the initiator decides; randomness, time and the network as this attempt sees them. */
export interface AttemptEnvironment extends ProcessTime {
  readonly beginAttempt: typeof beginAttempt;
  readonly receiveM4: typeof receiveM4;
  readonly receiveM6: typeof receiveM6;
  readonly randomBytes: (n: number) => Uint8Array;
  /** Returns a random number from [0, 1). */
  readonly uniform: () => number;
  /**
   * Returns a client with a new socket, connected to the current address of the controller's name.
   */
  readonly connect: (
    options: Pick<AttemptOptions, 'controller' | 'turn' | 'metrics'>,
  ) => Promise<Pick<CoapClient, 'exchange' | 'close'>>;
}

type Client = Awaited<ReturnType<AttemptEnvironment['connect']>>;

const SYSTEM: AttemptEnvironment = {
  beginAttempt,
  receiveM4,
  receiveM6,
  randomBytes,
  uniform: () => randomInt(0, RANDOM_RANGE) / RANDOM_RANGE,
  now: monotonicNow,
  pause: (ms, signal) => pause(ms, undefined, { signal }).catch(() => undefined),
  async connect({ controller, turn, metrics }) {
    const addresses = await addressesOf(controller);
    const first = turn % addresses.length;
    return CoapClient.connect({
      peer: controller,
      addresses: [...addresses.slice(first), ...addresses.slice(0, first)],
      tokenLength: TOKEN_LENGTH,
      maxInFlight: 1,
      metrics: metrics.client,
    });
  },
};

type StepResult<D> = { readonly kind: 'opened'; readonly decision: D } | FailedExchange;

/** @param environment left out: that of this process, and the profile's initiator */
export async function attemptJoin(options: AttemptOptions, environment: AttemptEnvironment = SYSTEM): Promise<AttemptResult> {
  const { signal } = options;
  const way = new Way(() => environment.connect(options));
  const abort = (): void => void way.close();
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await new JoinAttempt(way, options, environment).run();
  } finally {
    signal.removeEventListener('abort', abort);
    if (!signal.aborted) await way.close();
  }
}

/** The way to the controller: one socket at a time. */
class Way {
  readonly #connect: () => Promise<Client>;
  #connecting: Promise<Client> | undefined;
  #isClosed = false;
  #close: () => void = () => undefined;
  readonly #closed = new Promise<undefined>((resolve) => (this.#close = () => resolve(undefined)));

  constructor(connect: () => Promise<Client>) {
    this.#connect = connect;
  }

  /**
   * Resolves with `undefined` once the way is closed, also while a name is looked up, for which the
   * system may take half a minute.
   */
  client(): Promise<Client | undefined> {
    if (this.#isClosed) return this.#closed;
    this.#connecting ??= this.#connect();
    return Promise.race([this.#closed, this.#connecting]);
  }

  /** The next client has a new socket, and resolves the controller's name again. */
  async renew(): Promise<void> {
    const before = this.#connecting;
    this.#connecting = undefined;
    await closeOnceConnected(before);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#close();
    await closeOnceConnected(this.#connecting);
  }
}

async function closeOnceConnected(connecting: Promise<Client> | undefined): Promise<void> {
  await connecting?.then((client) => client.close()).catch(() => undefined);
}

class JoinAttempt {
  readonly #way: Way;
  readonly #options: AttemptOptions;
  readonly #environment: AttemptEnvironment;
  readonly #deadlineAt: number;
  /**
   * What the controller last asked to have brought back. It is good for M5 too, which then needs no
   * round trip more.
   */
  #echo: Buffer | undefined;
  #foreign: number | undefined;

  constructor(way: Way, options: AttemptOptions, environment: AttemptEnvironment) {
    this.#way = way;
    this.#options = options;
    this.#environment = environment;
    this.#deadlineAt = environment.now() + TRANSACTION_LIFETIME_MS;
  }

  async run(): Promise<AttemptResult> {
    const { file, uptime } = this.#options;
    const { beginAttempt, receiveM4, randomBytes } = this.#environment;
    const { state } = file.record;
    const awaitingM4 = beginAttempt(state, randomBytes(RN_LENGTH), uptime.now());
    const answer = await this.#exchange('M1', awaitingM4.m1, M4_TIMEOUT_MS, (octets) =>
      receiveM4(state, awaitingM4, octets, uptime.now()),
    );
    if (answer.kind !== 'opened') return { kind: 'failed', step: 'M1', reason: answer };
    const { decision } = answer;
    if (decision.kind === 'wait') return decision;

    // Promote, erase and store: one durable write. Then M5.
    const { formerKey } = file.record;
    const now = uptime.clocks();
    const promotion = decision.promoted
      ? {
          formerKey: formerKeyOf(file.record, now),
          keyLease: leaseOfPromoted(file.record, decision.state.confirmed),
          hookPending: true,
        }
      : {};
    const candidates = decision.state.candidates.map((one) =>
      one.psk === decision.attempt.psk ? { ...one, clocks: { ...now, poweredMs: one.storedAt } } : one,
    );
    await file.write({ state: { ...decision.state, candidates }, powered: uptime.save(), ...promotion });
    wipeAll(decision.dropped);
    if (decision.promoted) formerKey?.applicationRoot.wipe();
    return this.#sendM5(decision.attempt);
  }

  /** Sends M5 until an M6 opens or the transaction at the controller is over. */
  async #sendM5(awaitingM6: AwaitingM6): Promise<AttemptResult> {
    const { file, signal } = this.#options;
    const { receiveM6, now, pause } = this.#environment;
    for (let retriesLeft = REFUSALS_RETRIED; ;) {
      const { state } = file.record;
      const answer = await this.#exchange('M5', awaitingM6.m5, M5_DEADLINE_MS, (octets) => receiveM6(state, awaitingM6, octets));
      if (answer.kind === 'opened') return this.#confirm(answer.decision, awaitingM6);
      const retryable =
        answer.kind !== 'unreachable' && (answer.kind !== 'refused' || RETRYABLE.has(answer.code) || retriesLeft-- > 0);
      const delayMs = M5_RETRY_DELAY_MS + 1000 * (answer.kind === 'refused' ? (answer.maxAge ?? 0) : 0);
      if (!retryable || signal.aborted || now() + delayMs >= this.#deadlineAt)
        return { kind: 'failed', step: 'M5', reason: answer };
      if (answer.kind === 'no answer') await this.#startOver();
      await pause(delayMs, signal);
    }
  }

  /**
   * The way to the controller may have changed under the socket: its address, this device's own,
   * the flow that a NAT knows.
   */
  async #startOver(): Promise<void> {
    await this.#way.renew();
    // An Echo is good for the address and port that it was issued to.
    this.#echo = undefined;
  }

  /** The PSK is the confirmed key, all else is erased: one durable write. Only this is "joined". */
  async #confirm(
    { state, lifetime, dropped }: Extract<M6Decision, { kind: 'joined' }>,
    { idC }: AwaitingM6,
  ): Promise<AttemptResult> {
    const { file, uptime } = this.#options;
    const { formerKey } = file.record;
    const keyBefore = file.record.state.confirmed.fingerprint;
    // A node whose installer named no ID_c is the first one's that proves the key.
    const controllers = state.controllers === 'any' ? [idC] : state.controllers;
    const now = uptime.clocks();
    const { wallMs: at, poweredMs: poweredAt, boots } = now;
    const joinedAt = file.record.keyLease?.joinedAt ?? at;
    const renewal = scheduleRenewal(lifetime, this.#environment.uniform);
    await file.write({
      state: { ...state, controllers },
      keyLease: { joinedAt, at, poweredAt, boots, lifetime, renewal },
      formerKey: formerKeyOf(file.record, now),
      lastAttempt: { at, outcome: 'joined' },
      powered: uptime.save(),
      hookPending: true,
    });
    wipeAll(dropped);
    formerKey?.applicationRoot.wipe();
    return { kind: 'joined', keyBefore, key: state.confirmed.fingerprint, lifetime };
  }

  /** Sends POST, and repeats it with the Echo if the controller challenges it. */
  async #exchange<D extends M4Decision | M6Decision>(
    step: 'M1' | 'M5',
    payload: Uint8Array,
    deadlineMs: number,
    decide: (octets: Uint8Array) => D,
  ): Promise<StepResult<Exclude<D, { kind: 'ignored' }>>> {
    const first = await this.#send(step, payload, deadlineMs, decide);
    if (first.kind !== 'echo') return first;
    this.#echo = first.echo;
    const second = await this.#send(step, payload, deadlineMs, decide);
    return second.kind === 'echo' ? { kind: 'refused', code: COAP_UNAUTHORIZED, maxAge: undefined } : second;
  }

  async #send<D extends M4Decision | M6Decision>(
    step: 'M1' | 'M5',
    payload: Uint8Array,
    deadlineMs: number,
    decide: (octets: Uint8Array) => D,
  ): Promise<StepResult<Exclude<D, { kind: 'ignored' }>> | { readonly kind: 'echo'; readonly echo: Buffer }> {
    const { log, controller, metrics, onSent } = this.#options;
    const { now } = this.#environment;
    const since = now();
    const to = formatEndpoint(controller);
    const client = await this.#way.client();
    if (client === undefined) return { kind: 'unreachable', code: 'ECANCELED' };
    log.debug({ message: step, octets: payload.length, to }, 'sent');
    const exchange = client.exchange({
      payload,
      deadlineMs: Math.max(0, Math.min(deadlineMs, this.#deadlineAt - now())),
      echo: this.#echo,
      maxIgnored: MAX_IGNORED_ANSWERS,
      graceMs: GRACE_MS,
      accept: (response) => classify(response, decide, log, (foreign) => (this.#foreign = foreign)),
    });
    // The socket sends it after the datagrams that are queued now.
    setImmediate(onSent);
    const outcome = await exchange;
    metrics.exchanges[step].observe(now() - since);
    return outcome.kind === 'answered' ? outcome.value : toFailedExchange(outcome, this.#foreign);
  }
}

/** What a response is worth: a message that opens, an error, or nothing. */
function classify<D extends M4Decision | M6Decision>(
  response: Response,
  decide: (octets: Uint8Array) => D,
  log: Log,
  onForeign: (idC: number) => void,
) {
  const { code, payload, maxAge, echo } = response;
  if (code === COAP_UNAUTHORIZED && echo !== undefined) return { kind: 'echo', echo } as const;
  if (code !== COAP_CHANGED) return { kind: 'refused', code, maxAge } as const;
  const decision = decide(payload);
  if (decision.kind === 'ignored') {
    log.debug({ octets: payload.length, reason: decision.reason }, 'an answer was ignored');
    if (decision.foreign !== undefined) onForeign(decision.foreign);
    return undefined;
  }
  log.debug({ message: `M${(payload[0] ?? 0) & 0x0f}`, octets: payload.length }, 'received');
  return { kind: 'opened', decision: decision as Exclude<D, { kind: 'ignored' }> } as const;
}

function toFailedExchange(
  outcome: Exclude<ExchangeOutcome<unknown>, { kind: 'answered' }>,
  foreign: number | undefined,
): FailedExchange {
  switch (outcome.kind) {
    case 'unreachable':
      return { kind: 'unreachable', code: outcome.code };
    case 'too-many-invalid':
      return { kind: 'undecryptable', answers: outcome.ignored, foreign };
    case 'timeout':
      return outcome.ignored > 0 ? { kind: 'undecryptable', answers: outcome.ignored, foreign } : { kind: 'no answer' };
    case 'busy':
      return { kind: 'no answer' };
  }
}

function wipeAll(secrets: readonly Secret[]): void {
  for (const secret of secrets) secret.wipe();
}
