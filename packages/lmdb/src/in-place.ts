/**
 * Checks that the file of an open store is still at its path. LMDB continues to write into a file
 * that was deleted, or moved with its folder. The next start would not find these writes, and a
 * node whose new key is among them would be locked out.
 */

import { stat } from 'node:fs/promises';
import { Failure, systemCode } from '@latchkey/runtime/failure';

const LOOK_EVERY_MS = 1_000;
/**
 * Once the file of a store was moved away for this long, in ms, processes that have it open write
 * no more to it, unless they or their disk hang.
 */
export const MOVE_NOTICED_MS: number = 2 * LOOK_EVERY_MS;
/** Errors of stat(2) for a path that does not exist. Other errors say nothing about the file. */
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR']);

export class InPlace {
  readonly #path: string;
  readonly #identity: string;
  readonly #timer: NodeJS.Timeout;
  #isInPlace = true;
  /** Prevents a second check while a hanging disk has not answered the first. */
  #isLooking = false;

  private constructor(path: string, identity: string) {
    this.#path = path;
    this.#identity = identity;
    this.#timer = setInterval(() => void this.#look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** @param path of a file that is there */
  static async watch(path: string): Promise<InPlace> {
    return new InPlace(path, await identityOf(path));
  }

  /** Why nothing may be written now; `undefined` if it may. */
  get fault(): Failure | undefined {
    if (this.#isInPlace) return undefined;
    return new Failure(`the store ${this.#path} was removed, replaced or moved away while it is in use`, {
      advice: 'Put it back where it was: nothing is written to it until then. If it is lost, stop, restore a backup, and start.',
    });
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      this.#isInPlace = (await identityOf(this.#path)) === this.#identity;
    } catch (error) {
      if (GONE.has(systemCode(error) ?? '')) this.#isInPlace = false;
    } finally {
      this.#isLooking = false;
    }
  }
}

async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev} ${ino}`;
}
