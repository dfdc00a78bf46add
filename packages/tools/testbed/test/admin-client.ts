// An administrator at the commands: what they say is kept, so that one can look for keys in all of
// it.

import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { REISSUE_HOLDOFF_MS, Secret } from '@latchkey/protocol';
import { expect } from 'vitest';
import type { CommandName, CommandResult } from '../src/process.js';
import type { TestNetwork } from '../src/network.js';

/** Between two looks, in ms. */
const WRITE_POLL_MS = 200;

export class AdminClient {
  readonly network: TestNetwork;
  /** Everything any command said. */
  output = '';

  constructor(network: TestNetwork) {
    this.network = network;
  }

  /**
   * Runs a command of the auth-server on the registry, which must succeed; gives its standard
   * output.
   */
  async run(...args: readonly string[]): Promise<string> {
    const finished = await this.try(...args);
    this.#expectExitCode(0, finished, args);
    return finished.stdout;
  }

  async json<T = Record<string, unknown>>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.run(...args, '--json')) as T;
  }

  /**
   * Runs a command that is refused, and gives what it says of that: in words, and not as a mistake
   * in the program.
   */
  async expectRejected(code: 1 | 2, ...args: readonly string[]): Promise<string> {
    const finished = await this.try(...args);
    this.#expectExitCode(code, finished, args);
    if (!finished.stderr.startsWith('latchkey-auth-server: ') || /^\s+at |internal error|\.js:\d/m.test(finished.stderr))
      throw new Error(`${args.join(' ')} says of its failure:\n${finished.stderr}`);
    return finished.stderr;
  }

  /** Runs a command of the auth-server on the registry that may fail. */
  async try(...args: readonly string[]): Promise<CommandResult> {
    return this.runOther('auth-server', [...args, '--data', this.network.registry]);
  }

  async runOther(name: CommandName, args: readonly string[], input?: string): Promise<CommandResult> {
    const finished = await this.network.try(name, args, input);
    this.output += `${finished.stdout}${finished.stderr}`;
    return finished;
  }

  #expectExitCode(wanted: number, { code, stdout, stderr }: CommandResult, args: readonly string[]): void {
    if (code !== wanted) throw new Error(`${args.join(' ')} ended with ${code}, not ${wanted}:\n${stdout}${stderr}`);
  }

  /** Whether a node gets its key, by the exit code of `join`. */
  async join(id: string): Promise<number | null> {
    const { code } = await this.runOther('node-agent', ['join', '--state', this.network.node(id)]);
    return code;
  }

  /**
   * Expects that the node gets no key, because the registry was given its initial key again.
   * `since`, of `performance.now()`, is before that: on a machine so busy that half of the wait is
   * over by the time of the join, nothing can be expected.
   */
  async expectHeldOff(id: string, since: number, join: () => Promise<number | null> = () => this.join(id)): Promise<void> {
    const code = await join();
    if (performance.now() - since > REISSUE_HOLDOFF_MS / 2) return;
    // A server writes what it sees once a second.
    let cause = await this.why(id);
    while (cause !== 'held-off' && performance.now() - since < REISSUE_HOLDOFF_MS) {
      await pause(WRITE_POLL_MS);
      cause = await this.why(id);
    }
    if (code !== 1 || cause !== 'held-off') throw new Error(`node ${id} is not held off: join ended with ${code}, ${cause}`);
  }

  /** The word for the cause that `node why` names. */
  async why(id: string): Promise<string> {
    return (await this.json<{ cause: string }>('node', 'why', id)).cause;
  }
}

/** Fails where a key, or the better part of it, stands in `text`. */
export function expectNoKey(text: string, keys: Iterable<Secret>): void {
  let looked = 0;
  for (const key of keys) {
    looked += 1;
    const [hex, base64] = [key.toHex(), Buffer.from(key.expose()).toString('base64')];
    for (const part of [hex.slice(0, 16), hex.slice(16), base64.slice(0, 12)]) {
      expect(text.toLowerCase().includes(part.toLowerCase()), `a key with fingerprint ${key.fingerprint}`).toBe(false);
    }
  }
  expect(looked).toBeGreaterThan(0);
}

/** The key in a file that holds one, or a credential. */
export async function readKeyFrom(path: string): Promise<Secret> {
  const [hex = ''] = /[0-9a-f]{32}/.exec(await readFile(path, 'utf8')) ?? [];
  return Secret.fromHex(hex);
}
