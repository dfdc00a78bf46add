/**
 * Brings a registry of an older version up to this one, on start. A new store is filled beside the old one and takes its place in the
 * end; the old one stays where the log says, as the backup. Killed at any moment it begins anew, or finds that it had finished.
 *
 * Schema 1 (0.1.0 before its release): keys unsealed, lifetimes and joins in the node's row, imported nodes without an order.
 */

import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KEY_LENGTH, Secret } from '@latchkey/protocol';
import { type Endpoint, exists, Failure, type Log, syncFolderOf } from '@latchkey/runtime';
import { countEntries, openStore, KEY_KIND, STORE_FILE } from '@latchkey/store';
import { randomBytes } from 'node:crypto';
import type { Database, RootDatabase } from 'lmdb';
import { DEFAULT_GRACE } from './enrolment.js';
import { initialKeyId } from './ik-identity.js';
import { SCHEMA } from './registry.js';
import type { NodeRow, OrderRow } from './rows.js';
import { restoreAdvice, STORE_FOLDER, storeFolderOfSchema, Tables } from './tables.js';

const OLD = storeFolderOfSchema(1);
const NEW = storeFolderOfSchema(SCHEMA);
const CHUNK = 4_096;

interface OldNodeRow {
  key: Uint8Array;
  initial: boolean;
  controller: number;
  disabled: boolean;
  lifetime: number;
  grace: number;
  order?: number;
  addedAt: number;
  committed?: NonNullable<NodeRow['committed']>;
}

interface OldControllerRow {
  skCs: Uint8Array;
  nid: Endpoint;
  servers: Endpoint[];
  addedAt: number;
}

interface OldOrderRow {
  installer: string;
  idC: number;
  count: number;
  sharedKey: boolean;
  lifetime: number;
  createdAt: number;
}

/** Under the folder's lock, before it is opened. `master`: asked only where there is something to upgrade. */
export async function upgrade(folder: string, master: () => Promise<Secret>, who: string, log: Log): Promise<void> {
  const [store, old] = [join(folder, STORE_FOLDER), join(folder, OLD)];
  if (!(await exists(join(store, STORE_FILE)))) {
    // Killed between the last two steps.
    if (!(await exists(old)) || !(await exists(join(folder, NEW)))) return;
    await rename(join(folder, NEW), store);
    return syncFolderOf(store);
  }
  const env = await openStore<unknown, number>(store, { maxDbs: 12, ifDamaged: restoreAdvice(folder) });
  try {
    if (env.openDB<unknown, string>({ name: 'metadata' }).get('schema') !== 1) return;
    await rm(join(folder, NEW), { recursive: true, force: true });
    await fill(env, folder, await master(), who);
  } finally {
    await env.close();
  }
  if (await exists(old)) throw new Failure(`${old} is in the way of the upgrade`, { advice: 'Move it away, then start again.' });
  await rename(store, old);
  await syncFolderOf(store);
  await rename(join(folder, NEW), store);
  await syncFolderOf(store);
  log.warn({ backup: old }, 'the registry was upgraded; the backup holds its keys unsealed: remove it once nodes have joined');
}

async function fill(env: RootDatabase, folder: string, master: Secret, who: string): Promise<void> {
  const old = {
    nodes: env.openDB<OldNodeRow, number>({ name: 'nodes', keyEncoding: 'uint32' }),
    controllers: env.openDB<OldControllerRow, number>({ name: 'controllers', keyEncoding: 'uint32' }),
    orders: env.openDB<OldOrderRow, number>({ name: 'orders', keyEncoding: 'uint32' }),
  };
  const tables = await Tables.open(folder, who, { store: NEW });
  const octets = randomBytes(KEY_LENGTH);
  const identity = Secret.from(octets);
  octets.fill(0);
  try {
    // Not before what the old one saw: a clock that was set back meanwhile is to be noticed.
    const now = Math.max(Date.now(), env.openDB<number, string>({ name: 'metadata' }).get('last wall clock') ?? 0);
    const imported = await tables.write(() => {
      tables.initializeKeyring(master, identity);
      const entry = tables.audit.append(
        { what: 'registry upgraded', note: `from schema 1 to ${SCHEMA}`, count: countEntries(old.nodes) },
        now,
      );
      for (const { key, value } of old.controllers.getRange()) {
        const skCs = tables.keyring.seal({ kind: KEY_KIND.controller, id: key }, Secret.from(value.skCs));
        tables.controllers.putSync(key, { ...value, skCs });
      }
      return copyOrders(old.orders, tables, entry, now);
    });
    await copyNodes(old.nodes, tables, identity, imported);
    await tables.write(() => tables.metadata.putSync('schema', SCHEMA));
  } finally {
    await tables.close();
  }
}

/** Gives the number of the order that stands for what was imported. */
function copyOrders(orders: Database<OldOrderRow, number>, tables: Tables, entry: number, now: number): number {
  const more = { kind: 'order', state: 'open', grace: DEFAULT_GRACE, createdEntry: entry, entry } as const;
  let last = 0;
  for (const { key, value } of orders.getRange()) {
    tables.orders.putSync(key, { ...value, ...more });
    last = key;
  }
  const rest: OrderRow = {
    ...more,
    kind: 'import',
    installer: 'imported before the upgrade',
    idC: undefined,
    count: 0,
    sharedKey: false,
    lifetime: 0,
    createdAt: now,
  };
  tables.orders.putSync(last + 1, rest);
  return last + 1;
}

async function copyNodes(nodes: Database<OldNodeRow, number>, tables: Tables, identity: Secret, imported: number): Promise<void> {
  let chunk: [number, NodeRow][] = [];
  let strays = 0;
  const flush = async (): Promise<void> => {
    await tables.write(() => {
      for (const [idI, row] of chunk) tables.nodes.putSync(idI, row);
    });
    chunk = [];
  };
  for (const { key: idI, value } of nodes.getRange()) {
    const { key: octets, initial, controller, disabled, lifetime, grace, order, committed } = value;
    const key = Secret.from(octets);
    if (order === undefined) strays += 1;
    chunk.push([
      idI,
      {
        key: tables.keyring.seal({ kind: KEY_KIND.node, id: idI }, key),
        initial,
        // Of an IK that was traded in nothing is left to tell it by.
        ik: initial ? initialKeyId(identity, key) : new Uint8Array(10),
        controller,
        order: order ?? imported,
        entry: 0,
        lifetime,
        grace,
        ...(disabled ? { disabled } : {}),
        ...(committed === undefined ? {} : { committed, joinedAt: committed.at, seenBy: [committed.idC] }),
      },
    ]);
    key.wipe();
    if (chunk.length >= CHUNK) await flush();
  }
  await flush();
  const row = tables.orders.get(imported);
  await tables.write(() =>
    strays === 0 || row === undefined
      ? tables.orders.removeSync(imported)
      : tables.orders.putSync(imported, { ...row, count: strays }),
  );
}
