/**
 * A manufacturer's list of device keys. The registry stores none of them: they are read, combined
 * with the installers' halves, and wiped.
 */

import { deriveInitialKey, formatId, type Secret } from '@latchkey/protocol';
import { DeviceKeyReader } from '@latchkey/provisioning';
import { decryptInto } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { MAX_BATCH_NODES, NodeBatch } from '../node-batch.js';
import { initialKeyIdentifier, type Registry } from '@latchkey/registry';
import { inputName, readInto } from './import-file.js';
import { identityOf, includes, twiceIn } from './import-keys.js';

/** Problems that a message names. */
const MAX_PROBLEMS = 10;

/** Device keys by ID. `wipe` them after use. */
export class DeviceKeys {
  /** Of the file, for messages. */
  readonly name: string;
  /** Devices, each counted once. */
  readonly length: number;
  /** With the device key of each in the place of an initial key. */
  readonly #batch: NodeBatch;
  readonly #identify: (key: Secret) => Uint8Array;
  /** Of the device keys, in ascending order. */
  readonly #identities: BigUint64Array;

  private constructor(name: string, batch: NodeBatch, identify: (key: Secret) => Uint8Array) {
    [this.name, this.#batch, this.#identify] = [name, batch, identify];
    this.#identities = new BigUint64Array(batch.length);
    for (let i = 0; i < batch.length; i++) this.#identities[i] = this.#identityAt(i);
    this.#identities.sort();
    let length = 0;
    for (const _ of this.entries()) length += 1;
    this.length = length;
  }

  /**
   * Reads `path`, mode 0600, or standard input for `-`.
   *
   * @throws UsageFailure that names lines whose key is malformed, duplicate, or an initial key
   */
  static async read(registry: Registry, path: string): Promise<DeviceKeys> {
    const name = inputName(path);
    const problems = new Problems(name);
    const batch = new NodeBatch();
    const decrypt = path === '-' ? 'Pipe it through age -d first.' : decryptInto(path, 'device-keys.csv');
    const reader = new DeviceKeyReader(
      { name, decrypt: { advice: `Nothing was changed. ${decrypt}` } },
      {
        row({ line, idI, deviceKey }) {
          if (batch.add(idI, 0, deviceKey, line)) return;
          throw new UsageFailure(`${name} has more than ${MAX_BATCH_NODES} device keys`, {
            advice: 'Nothing was changed. Split it.',
          });
        },
        problem: ({ line, reason }) => problems.add(line, reason),
      },
    );
    const identityKey = registry.initialKeyIdKey();
    try {
      await readInto(path, reader);
      if (batch.length === 0 && problems.count === 0) {
        throw new UsageFailure(`${name} has no device keys in it`, {
          advice: 'Nothing was changed. Expected the header id,device_key and a line below it for each device.',
        });
      }
      const keys = new DeviceKeys(name, batch, initialKeyIdentifier(identityKey));
      keys.#findRepeatedIds(problems);
      keys.#findRepeatedKeys(problems);
      await keys.#findInitialKeys(registry, problems);
      problems.throwIfAny('Ask the manufacturer for a list in which each device has a key of its own.');
      return keys;
    } catch (error) {
      batch.wipe();
      throw error;
    } finally {
      identityKey.wipe();
    }
  }

  /** In ascending order of ID, each once. */
  *entries(): Generator<{ readonly idI: number; readonly line: number }> {
    let last: number | undefined;
    for (const i of this.#batch.indicesById()) {
      const idI = this.#batch.idI(i);
      if (idI !== last) yield { idI, line: this.#batch.line(i) };
      last = idI;
    }
  }

  /**
   * Returns the initial key of a node, which the caller wipes, or `undefined` if the node has no
   * device key here.
   */
  combine(idI: number, half: Secret): Secret | undefined {
    const i = this.#indexOf(idI);
    if (i === undefined) return undefined;
    const deviceKey = this.#batch.ik(i);
    const ik = deriveInitialKey(deviceKey, half);
    deviceKey.wipe();
    return ik;
  }

  has(idI: number): boolean {
    return this.#indexOf(idI) !== undefined;
  }

  /** Returns true if `key` is the device key of any device here. */
  includesKey(key: Secret): boolean {
    return includes(this.#identities, identityOf(this.#identify(key)));
  }

  /** @throws UsageFailure that names the lines of IDs that are taken */
  async rejectTaken(takenIds: (ids: readonly number[]) => Promise<ReadonlySet<number>>): Promise<void> {
    const taken = await takenIds(Array.from(this.entries(), ({ idI }) => idI));
    const problems = new Problems(this.name);
    for (const { idI, line } of this.entries())
      if (taken.has(idI)) problems.add(line, `id: node ${formatId(idI)} is in the registry already`);
    problems.throwIfAny('Leave out these lines, or give such a node its device key with `node reset --device-keys`.');
  }

  wipe(): void {
    this.#batch.wipe();
  }

  #findRepeatedIds(problems: Problems): void {
    const batch = this.#batch;
    let first: number | undefined;
    for (const i of batch.indicesById()) {
      if (first === undefined || batch.idI(first) !== batch.idI(i)) first = i;
      else if (!batch.isSameKey(first, i)) {
        const reason = `id: ${formatId(batch.idI(i))} stands in line ${batch.line(first)} already, with another device_key`;
        problems.add(batch.line(i), reason);
      }
    }
  }

  #findRepeatedKeys(problems: Problems): void {
    const repeated = twiceIn(this.#identities);
    if (repeated.length === 0) return;
    const first = new Map<bigint, number>();
    const batch = this.#batch;
    for (let i = 0; i < batch.length; i++) {
      const identity = this.#identityAt(i);
      if (!includes(repeated, identity)) continue;
      const before = first.get(identity);
      if (before === undefined) first.set(identity, i);
      else if (batch.idI(before) !== batch.idI(i)) {
        const reason = `device_key: it stands in line ${batch.line(before)} already, for ${formatId(batch.idI(before))}`;
        problems.add(batch.line(i), reason);
      }
    }
  }

  /** Installers and controllers may know an initial key, even one that no node holds any more. */
  async #findInitialKeys(registry: Registry, problems: Problems): Promise<void> {
    const found = new Map<bigint, string>();
    const note = (ik: Uint8Array, where: string): void => {
      const identity = identityOf(ik);
      if (includes(this.#identities, identity) && !found.has(identity)) found.set(identity, where);
    };
    // Reads nodes first: a key that is taken from a node during the walk is then found among the
    // retired keys.
    for await (const page of registry.nodePages())
      for (const { idI, order, ik } of page) note(ik.octets, `it is the initial key of node ${formatId(idI)}, of order ${order}`);
    for await (const page of registry.retiredInitialKeyPages())
      for (const { ik, order } of page) note(ik, `it was an initial key of order ${order}`);
    if (found.size === 0) return;
    for (let i = 0; i < this.#batch.length; i++) {
      const where = found.get(this.#identityAt(i));
      if (where !== undefined) problems.add(this.#batch.line(i), `device_key: ${where}, which others know`);
    }
  }

  #identityAt(i: number): bigint {
    const key = this.#batch.ik(i);
    const identity = identityOf(this.#identify(key));
    key.wipe();
    return identity;
  }

  #indexOf(idI: number): number | undefined {
    const indices = this.#batch.indicesById();
    let [from, to] = [0, indices.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#batch.idI(indices[middle]!) < idI) from = middle + 1;
      else to = middle;
    }
    const found = indices[from];
    return found !== undefined && this.#batch.idI(found) === idI ? found : undefined;
  }
}

/** Counts the malformed lines, and describes the first of them. */
class Problems {
  readonly #name: string;
  readonly #first: { readonly line: number; readonly text: string }[] = [];
  count = 0;

  constructor(name: string) {
    this.#name = name;
  }

  add(line: number, reason: string): void {
    this.count += 1;
    if (this.#first.length < MAX_PROBLEMS) this.#first.push({ line, text: `${this.#name}, line ${line}: ${reason}` });
  }

  throwIfAny(advice: string): void {
    if (this.count === 0) return;
    const lines = this.#first.toSorted((a, b) => a.line - b.line).map(({ text }) => text);
    const more = this.count > MAX_PROBLEMS ? [`and ${this.count - MAX_PROBLEMS} more`] : [];
    throw new UsageFailure([...lines, ...more].join('\n'), { advice: `Nothing was changed. ${advice}` });
  }
}
