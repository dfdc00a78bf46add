/** Validates the contents that one engine exports while another imports them. */

import { Keyring, type MetadataTable } from '@latchkey/keyring';
import { formatId, type Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { ChainWalk } from '../audit-chain.js';
import type { ContentPage, RegistryContents } from '../contents.js';
import { unsealController, unsealInstallerHalf, unsealNodeKey, wipeKeys } from '../model/rows.js';
import { SCHEMA } from '../registry.js';
import type { MetadataName } from '../storage.js';

export interface VerifiedContents extends RegistryContents {
  readonly metadata: ReadonlyMap<MetadataName, unknown>;
  /** Wiped when the contents are closed. */
  readonly keyring: Keyring;
  /** Rows of nodes so far. */
  readonly nodes: () => number;
}

interface Source {
  /** In messages. */
  readonly name: string;
  /** Advice if no registry wrote these contents. */
  readonly advice: string;
}

/**
 * Checks the version and the master key at once. Reading a page fails if a key does not unseal in
 * its place, or the audit log is not valid. The whole is valid only once the pages have ended.
 */
export async function verifiedContents(contents: RegistryContents, master: Secret, source: Source): Promise<VerifiedContents> {
  const pages = contents.pages[Symbol.asyncIterator]() as AsyncIterator<ContentPage, undefined, undefined>;
  const { value: first } = await pages.next();
  const metadata = new Map<MetadataName, unknown>(first?.table === 'metadata' ? first.rows : []);
  const schema = metadata.get('schema') as number | undefined;
  if (schema !== SCHEMA) {
    const what = schema === undefined ? 'not a registry' : `of schema ${schema}; this version has ${SCHEMA}`;
    throw new Failure(`${source.name} is ${what}`, {
      advice: 'Nothing was changed. Use the version of Latchkey that wrote it.',
    });
  }
  const keyring = Keyring.open(readOnly(metadata), source.name, master);
  const { start, head } = contents;
  let nodes = 0;
  const close = async (): Promise<void> => {
    keyring.wipe();
    await contents.close();
  };
  return { start, head, metadata, keyring, nodes: () => nodes, pages: verified(), close };

  async function* verified(): AsyncGenerator<ContentPage> {
    const walk = new ChainWalk({ start, head });
    yield { table: 'metadata', rows: [...metadata] };
    for (let page = await pages.next(); page.done !== true; page = await pages.next()) {
      if (page.value.table === 'entries')
        for (const [seq, octets] of page.value.rows) requireNoProblem(source, walk.entry(seq, octets));
      else checkKeys(source, keyring, page.value);
      if (page.value.table === 'nodes') nodes += page.value.rows.length;
      yield page.value;
    }
    requireNoProblem(source, walk.end());
  }
}

function readOnly(metadata: ReadonlyMap<string, unknown>): MetadataTable {
  const version = {};
  return {
    get: (name) => metadata.get(name),
    version: () => version,
    putSync: () => {
      throw new Error('what is handed over is not changed');
    },
  };
}

/** Throws unless each key in the page opens in its place. */
function checkKeys(source: Source, keyring: Keyring, page: ContentPage): void {
  if (page.table === 'nodes')
    for (const [idI, row] of page.rows) {
      requireOctets(source, `node ${formatId(idI)}`, row.key);
      unsealNodeKey(keyring, idI, row).wipe();
      unsealInstallerHalf(keyring, idI, row)?.wipe();
    }
  else if (page.table === 'controllers')
    for (const [idC, row] of page.rows) {
      requireOctets(source, `controller ${formatId(idC)}`, row.skCs);
      wipeKeys(unsealController(keyring, idC, row));
    }
}

function requireOctets({ name, advice }: Source, whose: string, key: unknown): void {
  if (!(key instanceof Uint8Array)) throw new Failure(`${name} is damaged: ${whose} has no key`, { advice });
}

function requireNoProblem({ name, advice }: Source, problems: Iterable<string>): void {
  for (const problem of problems) throw new Failure(`the audit log in ${name} does not hold: ${problem}`, { advice });
}
