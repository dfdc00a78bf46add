/** Faults in one daemon, at any time: disks that fail and clocks that jump. Linux with gcc. */

import { spawnSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { endianness } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { TestNetwork } from './network.js';

const SOURCE = fileURLToPath(new URL('../faults/faults.c', import.meta.url));
const CONTROL_LENGTH = 16;
const CLOCK_OFFSET = 8;
/** As faults.c takes them. */
const DISK_CODES = { works: 0, fails: 1, 'fails at the end of a commit': 2 } as const;

export const CAN_INJECT_FAULTS: boolean = process.platform === 'linux' && spawnSync('gcc', ['--version']).status === 0;

export class FaultInjector {
  /** For the daemon to be started in. */
  readonly environment: NodeJS.ProcessEnv;
  readonly #file: number;

  private constructor(library: string, path: string) {
    writeFileSync(path, Buffer.alloc(CONTROL_LENGTH));
    this.#file = openSync(path, 'r+');
    this.environment = { LD_PRELOAD: library, LATCHKEY_FAULTS: path };
  }

  static create(network: TestNetwork, name: string): FaultInjector {
    const library = network.path('faults.so');
    const built = spawnSync('gcc', ['-O1', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl'], { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`gcc: ${built.stderr}`);
    return new FaultInjector(library, network.path(`faults-${name}`));
  }

  /**
   * Whether writes and syncs of files fail with EIO: all of them, or the last one of a commit of
   * LMDB. A commit that is under way as all begin to fail fails before its last one, or not at all.
   */
  setDisk(state: 'fails' | 'fails at the end of a commit' | 'works'): void {
    writeSync(this.#file, Buffer.of(DISK_CODES[state]), 0, 1, 0);
  }

  /** What the daemon's wall clock is off by, in ms. */
  setClock(ms: number): void {
    const octets = Buffer.alloc(CONTROL_LENGTH - CLOCK_OFFSET);
    if (endianness() === 'LE') octets.writeBigInt64LE(BigInt(ms));
    else octets.writeBigInt64BE(BigInt(ms));
    writeSync(this.#file, octets, 0, octets.length, CLOCK_OFFSET);
  }

  close(): void {
    closeSync(this.#file);
  }
}
