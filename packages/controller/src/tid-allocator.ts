/**
 * Allocates TIDs, which strictly increase over the controller's whole life, despite crashes and
 * losses.
 *
 * At start, TID = max(last stored + 1, microseconds since the epoch). TIDs are reserved on the disk
 * in blocks, so that a crash skips numbers and repeats none. If the folder is lost, the clock takes
 * over: no controller allocates faster than one TID per microsecond.
 *
 * The file next to it counts messages that may have been sealed under SK_cs. That key must be
 * replaced before 2^32 messages. The file also names its controller, so that no other controller
 * uses the folder.
 */

import { formatId, MAX_LINK_MESSAGES, MAX_TID, type Secret } from '@latchkey/protocol';
import { formatCommandLine, STATE_FOLDERS } from '@latchkey/runtime/cli';
import type { Credential } from '@latchkey/provisioning';
import { exists, readPrivateFile, replaceFile } from '@latchkey/runtime/files';
import { type CommandLine, Failure, UsageFailure } from '@latchkey/runtime/failure';
import { parsePrivateJson } from '@latchkey/runtime/config';
import { type Log, PROCESS_TIME, type ProcessTime } from '@latchkey/runtime/daemon';
import { z } from 'zod';

/**
 * After a failure nothing is stored for so long, in ms: each M1, a stranger's too, asks for a TID,
 * and each failure is a line in the log.
 */
const RETRY_DELAY_MS = 1_000;
/** M2 and M7 of one transaction, each answered under the same key. */
const MESSAGES_PER_TID = 4;
/** From this part of what SK_cs may seal, the log asks for another key. */
const WARN_AT = 0.5;

const CORRUPT_ADVICE = "If this machine's clock is right, remove the file: TIDs go on from the clock.";

const fileSchema = z.strictObject({
  /**
   * ID_c. A file of an earlier version has none: it belongs to the first controller that opens it.
   */
  id_c: z
    .string()
    .regex(/^[0-9a-f]{8}$/, 'expected 8 hex digits')
    .optional(),
  /** The last TID that may have been used. */
  last_tid: z
    .string()
    .regex(/^\d{1,20}$/, 'expected a decimal number')
    .refine((text) => BigInt(text) <= MAX_TID, 'expected a number of 64 bits'),
  sk_cs: z.string().regex(/^[0-9a-f]{4}$/, 'expected a fingerprint'),
  messages: z.number().int().nonnegative(),
});

/** Writes another credential, on the machine of the registry. */
export function rotateCommand(idC: number, folder: string = STATE_FOLDERS['auth-server']): CommandLine {
  const id = formatId(idC);
  return ['latchkey-auth-server', 'controller', 'rotate', id, '--data', folder, '--out', `controller-${id}.json`];
}

/** Whose they are: its credential. */
type Owner = Pick<Credential, 'idC' | 'skCs'>;

/** What TIDs stand on: files and time of the machine, or of a simulation. */
export interface TidEnvironment {
  /** Returns the text of the file, or `undefined` if none exists. Throws a Failure. */
  readonly read: (path: string) => Promise<string | undefined>;
  /** Resolves once the file has this text, also after a loss of power. Throws a Failure. */
  readonly replace: (path: string, text: string) => Promise<void>;
  readonly now: ProcessTime['now'];
  /** TIDs that are reserved at a time, at the start and at most. */
  readonly blocks: { readonly first: bigint; readonly largest: bigint };
}

const MACHINE: TidEnvironment = {
  read: async (path) => ((await exists(path)) ? readPrivateFile(path) : undefined),
  replace: replaceFile,
  now: PROCESS_TIME.now,
  // Few at the start, so that a controller that is restarted all the time does not use up SK_cs by
  // restarts only. Twice as many each time they run short, so that a busy one seldom writes.
  blocks: { first: 1_024n, largest: 65_536n },
};

export class TidAllocator {
  readonly #path: string;
  readonly #idC: number;
  #fingerprint: string;
  readonly #log: Log;
  readonly #environment: TidEnvironment;
  #next: bigint;
  #stored: bigint;
  #messages: number;
  #block: bigint;
  #storing: Promise<void> | undefined;
  #failedAt = -Infinity;
  /** Whether the last try to store TIDs failed. */
  #fails = false;

  private constructor(
    path: string,
    { idC, skCs }: Owner,
    log: Log,
    environment: TidEnvironment,
    { next, messages }: { readonly next: bigint; readonly messages: number },
  ) {
    this.#path = path;
    this.#idC = idC;
    this.#fingerprint = skCs.fingerprint;
    this.#log = log;
    this.#environment = environment;
    this.#block = environment.blocks.first;
    this.#next = next;
    this.#stored = next - 1n;
    this.#messages = messages;
  }

  /** Reads the file, or starts one, and stores the first block. `wallMs`: ms since the epoch. */
  static async open(
    path: string,
    owner: Owner,
    wallMs: number,
    log: Log,
    environment: TidEnvironment = MACHINE,
  ): Promise<TidAllocator> {
    const text = await environment.read(path);
    const saved = text === undefined ? undefined : parsePrivateJson(fileSchema, text, path, CORRUPT_ADVICE);
    assertOwner(path, saved?.id_c, formatId(owner.idC));
    const clock = BigInt(wallMs) * 1000n;
    const next = saved === undefined || BigInt(saved.last_tid) < clock ? clock : BigInt(saved.last_tid) + 1n;
    const messages = saved?.sk_cs === owner.skCs.fingerprint ? saved.messages : 0;
    const allocator = new TidAllocator(path, owner, log, environment, { next, messages });
    await allocator.#storeBlock();
    return allocator;
  }

  /** What may have been sealed under SK_cs. */
  get messages(): number {
    return this.#messages;
  }

  /** Why no TIDs can be stored ahead; `undefined` if they can. After a failure it tries again. */
  async probe(): Promise<string | undefined> {
    if (this.#fails && this.#mayStore) this.#storing = this.#storeAhead();
    await this.#storing;
    return this.#fails ? 'no TIDs can be stored ahead; the log says why' : undefined;
  }

  /**
   * The next TID, or `undefined` while none is stored ahead, or when TIDs or the key are used up.
   */
  next(): bigint | undefined {
    if (this.#stored - this.#next < this.#block / 2n && this.#mayStore) this.#storing = this.#storeAhead();
    if (this.#next > this.#stored) return undefined;
    this.#next += 1n;
    return this.#next - 1n;
  }

  get #mayStore(): boolean {
    return this.#storing === undefined && this.#environment.now() - this.#failedAt >= RETRY_DELAY_MS;
  }

  /**
   * Another SK_cs: what may be sealed under it is counted from zero. Stored with the next block.
   */
  rekey(skCs: Secret): void {
    if (skCs.fingerprint === this.#fingerprint) return;
    this.#fingerprint = skCs.fingerprint;
    this.#messages = Number(this.#stored - this.#next + 1n) * MESSAGES_PER_TID;
    // The key before may have been used up.
    this.#failedAt = -Infinity;
  }

  /** Waits for pending writes, because the file may have another writer afterwards. */
  async close(): Promise<void> {
    await this.#storing;
  }

  async #storeAhead(): Promise<void> {
    if (this.#block < this.#environment.blocks.largest) this.#block *= 2n;
    try {
      await this.#storeBlock();
      this.#fails = false;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#failedAt = this.#environment.now();
      this.#fails = true;
      this.#log.error({ advice: error.advice }, error.message);
    } finally {
      this.#storing = undefined;
    }
  }

  async #storeBlock(): Promise<void> {
    const stored = this.#stored + this.#block > MAX_TID ? MAX_TID : this.#stored + this.#block;
    const more = Number(stored - this.#stored) * MESSAGES_PER_TID;
    const messages = this.#messages + more;
    if (stored === this.#stored)
      throw new Failure('the last TID is used: this controller ID is at its end', {
        advice: 'Add it to the registry under another ID.',
      });
    if (messages > MAX_LINK_MESSAGES) {
      throw new Failure(`SK_cs [secret ${this.#fingerprint}] has sealed all it may`, {
        advice: `Give it another: ${formatCommandLine(rotateCommand(this.#idC))}`,
      });
    }
    if (messages > MAX_LINK_MESSAGES * WARN_AT)
      this.#log.warn({ key: this.#fingerprint, messages }, 'SK_cs is to be replaced before 2^32 messages');
    const file: z.input<typeof fileSchema> = {
      id_c: formatId(this.#idC),
      last_tid: String(stored),
      sk_cs: this.#fingerprint,
      messages,
    };
    await this.#environment.replace(this.#path, `${JSON.stringify(file)}\n`);
    this.#stored = stored;
    // Not `messages`: SK_cs may be another by now, of which none of the former one's count.
    this.#messages += more;
  }
}

function assertOwner(path: string, owner: string | undefined, idC: string): void {
  if (owner === undefined || owner === idC) return;
  throw new UsageFailure(`${path} is of controller ${owner}, and the credential is of controller ${idC}`, {
    advice: `Nothing was changed. Each controller has a state folder of its own: name another with --state, or give this one the credential of ${owner}.`,
  });
}
