/**
 * Compares the controllers' addresses in a file of nodes with those in the registry. Devices do not
 * learn of a difference.
 */

import { formatId } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint, isSameEndpoint } from '@latchkey/runtime/net';
import type { ManifestRow } from '@latchkey/provisioning';
import type { ControllerInfo } from '@latchkey/registry';

/** Addresses that are named; a file that has more is wrong all over. */
const MAX_NAMED = 20;

interface Contradiction {
  readonly idC: number;
  readonly inFile: Endpoint;
  readonly inRegistry: Endpoint;
  readonly line: number;
  count: number;
}

export class ImportControllers {
  readonly #registered: ReadonlyMap<number, Endpoint>;
  readonly #found = new Map<string, Contradiction>();
  #unnamed = 0;
  /**
   * A file names few controllers, one after the other: the reader gives the same object for the
   * same text.
   */
  #last: { readonly idC: number; readonly controller: Endpoint } | undefined;

  /** @param registered those in the registry */
  constructor(registered: readonly ControllerInfo[]) {
    this.#registered = new Map(registered.map(({ idC, nid }) => [idC, nid]));
  }

  add({ line, idC, controller }: Pick<ManifestRow, 'line' | 'idC' | 'controller'>): void {
    if (this.#last?.idC === idC && this.#last.controller === controller) return;
    const registered = this.#registered.get(idC);
    if (registered === undefined) return;
    if (isSameEndpoint(registered, controller)) this.#last = { idC, controller };
    else this.#note({ idC, inFile: controller, inRegistry: registered, line, count: 1 });
  }

  get warnings(): string[] {
    const named = [...this.#found.values()].map(({ idC, inFile, inRegistry, line, count }) => {
      const lines = count === 1 ? `line ${line}` : `line ${line} and ${count - 1} more`;
      const [said, known] = [formatEndpoint(inFile), formatEndpoint(inRegistry)];
      return `${lines}: controller ${formatId(idC)} is at ${said} in the file, and at ${known} in the registry`;
    });
    return this.#unnamed === 0 ? named : [...named, `${this.#unnamed} more lines have another address than the registry`];
  }

  #note(contradiction: Contradiction): void {
    const key = `${contradiction.idC} ${formatEndpoint(contradiction.inFile)}`;
    const before = this.#found.get(key);
    if (before !== undefined) before.count += 1;
    else if (this.#found.size < MAX_NAMED) this.#found.set(key, contradiction);
    else this.#unnamed += 1;
  }
}
