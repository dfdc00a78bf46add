/**
 * Streams of server-sent events that follow the audit log. All streams share one poll of the log. A
 * stream sends a few entries of each poll one by one. For the rest it sends the number of each
 * kind.
 */

import type { ServerResponse } from 'node:http';
import { visibleEntries, visibleOrdersOf } from '@latchkey/operations';
import type { AuditEntry, Registry } from '@latchkey/registry';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { type Principal, recheckPrincipal, type Scope } from '../access.js';
import type { RawAnswer } from '../answers.js';
import type { OpaqueValues } from '../opaque.js';
import { Problem } from '../problem.js';
import type { RegistryAccess } from '../registry-access.js';

/** Poll interval of the log, and keep-alive interval, in ms. */
const INTERVAL_MS = 500;
const SIGN_OF_LIFE_MS = 15_000;
/** Entries of one look that a stream sends one by one: 20 a second. */
const MAX_SINGLE = 10;
/**
 * Entries that a stream may be behind. Beyond this bound the client must reload its data. A caller
 * that is limited to some orders must do so only if an entry concerns these orders.
 */
const MAX_BEHIND = 1_024;
/** Maximum of entries that are scanned for that. With more, the stream must reload in any case. */
const MAX_LOOKED_THROUGH = 20_000;
/** Streams of one caller, and of all. Beyond that a request is answered 429. */
const MAX_STREAMS_PER_CALLER = 10;
const MAX_STREAMS = 40;
/** Octets that wait for a slow client. Beyond that it is sent nothing, and falls behind. */
const MAX_WAITING = 65_536;
const RETRY_AFTER_S = 10;
const SCOPE: Scope = 'read';
/** Names the streams in opaque IDs. */
const LIST = 'events';

/** What a stream shows of the log. What is left out excludes no entry. */
export interface EventFilter {
  readonly what?: readonly string[] | undefined;
  readonly node?: string | undefined;
  readonly controller?: string | undefined;
  readonly order?: number | undefined;
}

export interface EventStreamsOptions {
  readonly registry: RegistryAccess;
  readonly opaque: OpaqueValues;
  readonly log: Log;
  readonly intervalMs?: number | undefined;
  readonly signOfLifeMs?: number | undefined;
}

class Stream {
  readonly principal: Principal;
  readonly filter: EventFilter;
  readonly response: ServerResponse;
  /** The last entry that it was sent, or that its filter left out. */
  seq: number;

  constructor(principal: Principal, filter: EventFilter, response: ServerResponse, seq: number) {
    this.principal = principal;
    this.filter = filter;
    this.response = response;
    this.seq = seq;
  }
}

export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #log: RateLimitedLog;
  readonly #streams = new Set<Stream>();
  /** Places of streams whose answer has not begun. */
  readonly #opening = new Set<{ readonly principal: Principal }>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #signOfLifeAt = performance.now();
  /** Restore time of the registry at the last poll. */
  #restoredAt: number | undefined;
  #isClosed = false;

  constructor(options: EventStreamsOptions) {
    this.#options = options;
    this.#log = new RateLimitedLog(options.log);
  }

  /**
   * Opens a stream. Without `lastEventId` it begins with the next entry.
   *
   * @throws Problem if there are too many
   */
  async open(principal: Principal, registry: Registry, filter: EventFilter, lastEventId: string | undefined): Promise<RawAnswer> {
    const all = [...this.#opening, ...this.#streams];
    const own = all.filter((stream) => stream.principal.id === principal.id);
    if (this.#isClosed || own.length >= MAX_STREAMS_PER_CALLER || all.length >= MAX_STREAMS)
      throw new Problem('too-many-requests', { detail: 'Too many streams are open.', retryAfter: RETRY_AFTER_S });
    const place = { principal };
    this.#opening.add(place);
    let head: number;
    try {
      head = await headSeq(registry);
    } catch (error) {
      this.#opening.delete(place);
      throw error;
    }
    const restoredAt = registry.restored?.at;
    const last = lastEventId === undefined ? head : this.#options.opaque.of(restoredAt).openCursor(principal, LIST, lastEventId);
    if (this.#streams.size === 0) this.#restoredAt = restoredAt;
    return {
      headers: { 'content-type': 'text/event-stream' },
      start: (response) => {
        this.#opening.delete(place);
        // The caller has gone already.
        if (response.destroyed) return;
        const stream = new Stream(principal, filter, response, head);
        response.on('error', () => undefined);
        response.once('close', () => this.#remove(stream));
        this.#streams.add(stream);
        response.write(': the audit log, from here on\n\n');
        // An ID of another start of the API, or of before a restore.
        if (typeof last !== 'number' || last > head) this.#resync(stream, head);
        else stream.seq = last;
        this.#schedule();
      },
    };
  }

  #remove(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    const { intervalMs = INTERVAL_MS } = this.#options;
    if (this.#timer !== undefined || this.#isClosed || this.#streams.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.#look()
        .catch((error: unknown) => {
          this.#log.error(
            'events',
            {},
            `the audit log cannot be followed: ${error instanceof Error ? error.message : String(error)}`,
          );
        })
        .finally(() => this.#schedule());
    }, intervalMs);
  }

  async #look(): Promise<void> {
    await this.#options.registry.use(async (registry) => {
      // A stream that opens during the poll may begin beyond this head. Its first poll is the next
      // one.
      const streams = [...this.#streams];
      const head = await headSeq(registry);
      const restoredAt = registry.restored?.at;
      const isOther = restoredAt !== this.#restoredAt;
      this.#restoredAt = restoredAt;
      // The latest ones, if they are many.
      const behind = Math.max(Math.min(...streams.map(({ seq }) => seq)), head - MAX_BEHIND);
      const entries = isOther ? [] : await entriesBetween(registry, behind, head);
      for (const stream of streams)
        if (this.#streams.has(stream)) await this.#sendTo(stream, registry, entries, { head, isOther });
    });
    this.#sendSignsOfLife();
  }

  async #sendTo(
    stream: Stream,
    registry: Registry,
    entries: readonly AuditEntry[],
    { head, isOther }: { readonly head: number; readonly isOther: boolean },
  ): Promise<void> {
    const { principal, filter, response, seq } = stream;
    if (!isOther && seq === head) return;
    // The client reads too slowly.
    if (response.writableLength > MAX_WAITING) return;
    const now = await recheckPrincipal(principal);
    if (now?.scopes.has(SCOPE) !== true) return void response.end();
    if (isOther || seq > head) return this.#resync(stream, head);
    const visible = await visibleOrdersOf(registry, now.limits);
    const shown = (all: readonly AuditEntry[]): Promise<readonly AuditEntry[]> =>
      visibleEntries(
        registry,
        all.filter((entry) => entry.seq > seq && matches(entry, filter)),
        visible,
      );
    if (head - seq > MAX_BEHIND) {
      // How much others change is not for a caller that does not see it.
      if (visible === undefined || head - seq > MAX_LOOKED_THROUGH) return this.#resync(stream, head);
      // A part in each look: all streams share it.
      const last = seq + MAX_BEHIND;
      const part = await entriesBetween(registry, seq, last);
      if (!followsOn(part, seq) || (await shown(part)).length > 0) return this.#resync(stream, head);
      stream.seq = last;
      return;
    }
    if (!followsOn(entries, seq)) return this.#resync(stream, head);
    const matching = await shown(entries);
    for (const entry of matching.slice(0, MAX_SINGLE)) this.#send(stream, entry.seq, viewEvent(entry));
    const rest = matching.slice(MAX_SINGLE);
    if (rest.length > 0) this.#send(stream, head, countByKind(rest), 'rate');
    stream.seq = head;
  }

  /** Tells the client that its data may be stale, and that it must reload them. */
  #resync(stream: Stream, head: number): void {
    stream.seq = head;
    this.#send(stream, head, {}, 'resync');
  }

  #send({ principal, response }: Stream, seq: number, data: object, event?: string): void {
    const id = this.#options.opaque.of(this.#restoredAt).sealCursor(principal, LIST, seq);
    response.write(`${event === undefined ? '' : `event: ${event}\n`}id: ${id}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #sendSignsOfLife(): void {
    const now = performance.now();
    if (now - this.#signOfLifeAt < (this.#options.signOfLifeMs ?? SIGN_OF_LIFE_MS)) return;
    this.#signOfLifeAt = now;
    for (const { response } of this.#streams) if (response.writableLength <= MAX_WAITING) response.write(':\n\n');
  }

  /** Ends all streams. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
    for (const { response } of this.#streams) response.end();
  }
}

async function headSeq(registry: Registry): Promise<number> {
  await registry.refresh();
  return (await registry.audit.readHead())?.seq ?? 0;
}

/** Entries after one up to another, in ascending order. */
async function entriesBetween({ audit }: Registry, after: number, last: number): Promise<AuditEntry[]> {
  const entries: AuditEntry[] = [];
  if (after >= last) return entries;
  for await (const page of audit.entryPages(after + 1))
    for (const entry of page) {
      if (entry.seq > last) return entries;
      entries.push(entry);
    }
  return entries;
}

/** Whether the entry after `seq` is among these: it was not taken out of the log. */
function followsOn([first]: readonly AuditEntry[], seq: number): boolean {
  return first !== undefined && first.seq <= seq + 1;
}

function matches(entry: AuditEntry, { what, node, controller, order }: EventFilter): boolean {
  return (
    (what === undefined || what.includes(entry.what)) &&
    (node === undefined || entry.node === node) &&
    (controller === undefined || entry.controller === controller) &&
    (order === undefined || entry.order === order)
  );
}

/** Leaves out the actor and the key. Callers with access to the audit log find them there. */
function viewEvent({ at, what, node, controller, order, count }: AuditEntry): object {
  return { at, what, node, controller, order, count };
}

function countByKind(entries: readonly AuditEntry[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { what } of entries) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
}
