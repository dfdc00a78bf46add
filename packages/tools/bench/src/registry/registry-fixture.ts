/** A registry that the real commands made, in a folder of its own. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Registry } from '@latchkey/registry';
import { formatId, type Secret } from '@latchkey/protocol';
import { readCredential } from '@latchkey/provisioning';
import { readMasterKey } from '@latchkey/keyring';
import { measureCommand, type ResourceUsage } from '../command.js';
import { type Fleet, ID_C, NID } from './fleet.js';

export class RegistryFixture {
  readonly folder: string;
  readonly fleet: Fleet;
  readonly #csv: string;

  /** @param folder must not exist; `csv` is the fleet's */
  constructor(folder: string, fleet: Fleet, csv: string) {
    this.folder = folder;
    this.fleet = fleet;
    this.#csv = csv;
  }

  /** The file with the credential of its one controller. */
  get credential(): string {
    return join(this.folder, 'credential.json');
  }

  /**
   * Makes the registry with its controller, then measures the import of the fleet.
   *
   * @param more options of `controller add`
   */
  async create(...more: readonly string[]): Promise<ResourceUsage> {
    await measureCommand(['init', '--data', this.folder]);
    const controller = ['--nid', NID, '--server', '192.0.2.7:5693', '--out', this.credential];
    await measureCommand(['controller', 'add', formatId(ID_C), '--data', this.folder, ...controller, ...more]);
    return this.import(this.#csv);
  }

  async import(csv: string): Promise<ResourceUsage> {
    return measureCommand(['import', '--data', this.folder, '--lifetime', 'none', csv]);
  }

  /** The file with the master key. */
  get masterKey(): string {
    return join(this.folder, 'master.key');
  }

  async open(): Promise<Registry> {
    return Registry.open(this.folder, await readMasterKey({ kind: 'file', path: this.masterKey }), 'bench');
  }

  /** SK_cs of its one controller. */
  async skCs(): Promise<Secret> {
    return (await readCredential(this.credential)).skCs;
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
