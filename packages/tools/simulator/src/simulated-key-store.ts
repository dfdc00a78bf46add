/**
 * A controller's store of application roots. packages/controller decides how joins and answers of
 * the key feed change its rows. As in the real store, all changes within 50 ms are one atomic
 * write, and a killed process loses unwritten changes.
 */

import { applyJoin, applyPage, type NodeKeyTable } from '@latchkey/key-delivery/node-key-changes';
import type { ControllerOptions } from '@latchkey/controller/controller';
import type { KeyFeedStore } from '@latchkey/controller/key-feed';
import { FIRST_CURSOR, isForgettable, type JoinResult, type KeyFeedPage } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { hashText } from '@latchkey/test-support/seeded-random';
import { keyOctets } from './key-text.js';
import type { Process } from './process.js';

type NodeKeys = Parameters<NodeKeyTable['put']>[2];
type FeedProgress = KeyFeedStore['feedProgress'];
type ApplicationRoots = ControllerOptions['applicationRoots'];

/** In ms. */
const BATCH_DELAY_MS = 50;
const OVERLAP_MS = 900_000;
const EMPTY_PROGRESS: FeedProgress = { cursor: FIRST_CURSOR, confirmedAt: undefined };

export type StoreOperation =
  | { readonly kind: 'join'; readonly joined: JoinResult }
  | { readonly kind: 'page'; readonly page: KeyFeedPage; readonly progress: FeedProgress };

interface Batch {
  readonly operations: StoreOperation[];
  readonly written: Promise<void>;
}

export class SimulatedKeyStore implements KeyFeedStore, ApplicationRoots {
  readonly #process: Process;
  readonly #errorProbability: number;
  readonly #stream: number;
  readonly #now: () => number;
  #writes = 0;
  #batch: Batch | undefined;
  /** As the disk has them. */
  protected rows: Map<number, NodeKeys> = new Map();
  protected progress: FeedProgress = EMPTY_PROGRESS;
  onLateJoin: (idI: number) => void = () => undefined;
  isVerified: () => boolean = () => false;
  isWithdrawn: () => boolean = () => false;
  /** Told when the disk refuses a write. */
  onRefused: () => void = () => undefined;

  /**
   * @param errorProbability that the disk refuses a write
   * @param now ms since the epoch
   */
  constructor(process: Process, errorProbability: number, now: () => number) {
    this.#process = process;
    this.#errorProbability = errorProbability;
    this.#stream = hashText(`${process.name} key store`);
    this.#now = now;
  }

  get nodeCount(): number {
    return this.rows.size;
  }

  get feedProgress(): FeedProgress {
    return this.progress;
  }

  saveFeedProgress(progress: FeedProgress): Promise<void> {
    this.progress = progress;
    return Promise.resolve();
  }

  put(joined: JoinResult): Promise<void> {
    return this.#add({ kind: 'join', joined });
  }

  applyPage(page: KeyFeedPage, progress: FeedProgress): Promise<void> {
    return this.#add({ kind: 'page', page, progress });
  }

  flushed(): Promise<void> {
    return this.#batch?.written ?? Promise.resolve();
  }

  /** The application root that is given out as current. */
  currentOf(idI: number): Uint8Array | undefined {
    return this.rows.get(idI)?.current?.applicationRoot;
  }

  forgetOld(): Promise<void> {
    const now = this.#now();
    for (const [idI, row] of this.rows) if (isForgettable(row, now)) this.rows.delete(idI);
    return Promise.resolve();
  }

  loadDue(): void {
    // Each row is looked at each time.
  }

  announceAll(): void {
    // Sends no notifications: the oracle reads the keys that are given out.
  }

  /** The process is gone, and with it what was not written. */
  crash(): void {
    this.#batch = undefined;
  }

  /** The folder is lost. */
  remove(): void {
    this.rows = new Map();
    this.progress = EMPTY_PROGRESS;
  }

  #add(operation: StoreOperation): Promise<void> {
    this.#batch ??= this.#begin();
    this.#batch.operations.push(operation);
    return this.#batch.written;
  }

  #begin(): Batch {
    const operations: StoreOperation[] = [];
    const written = new Promise<void>((resolve, reject) => {
      this.#process.schedule(BATCH_DELAY_MS, 'writes application roots', () => {
        this.#batch = undefined;
        this.#process.simulation.unsettled();
        if (this.#isRefused()) reject(new Failure('the disk refuses the write', { advice: 'Look at the disk.' }));
        else this.write(operations, resolve);
      });
    });
    return { operations, written };
  }

  #isRefused(): boolean {
    const { faults } = this.#process.simulation;
    const { name } = this.#process;
    const count = this.#writes++;
    if (!faults.roll(this.#stream, count, this.#errorProbability)) return false;
    if (!faults.trigger(`${name} write ${count} of application roots fails`)) return false;
    this.#process.simulation.record(name, 'the disk refuses application roots');
    this.onRefused();
    return true;
  }

  // What mutants do otherwise.

  protected write(operations: readonly StoreOperation[], done: () => void): void {
    for (const operation of operations) this.apply(operation);
    done();
  }

  protected apply(operation: StoreOperation): void {
    const now = { wallMs: this.#now(), overlapMs: OVERLAP_MS };
    if (operation.kind === 'page') {
      applyPage(this.table(), operation.page, now);
      this.progress = operation.progress;
    } else if (!applyJoin(this.table(), operation.joined, now)) this.onLateJoin(operation.joined.idI);
  }

  protected table(): NodeKeyTable {
    const { rows } = this;
    return {
      get: (idI) => rows.get(idI),
      put: (idI, _, after) => void rows.set(idI, after),
      ids: () => rows.keys(),
      seal: (_, applicationRoot) => Uint8Array.from(keyOctets(applicationRoot)),
    };
  }
}
