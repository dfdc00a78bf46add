/**
 * How the keys of a node stand in the controller's store: application roots sealed, TIDs as text.
 */

import {
  deriveKeyId,
  type KeyFeedEntry,
  type KeyFeedState,
  type ReceivedEntry,
  type Secret,
  type StoredFormerGeneration,
  type StoredGeneration,
  type StoredNodeKeys,
} from '@latchkey/protocol';
import type { FormerGeneration, KeyGeneration, NodeKeys } from '../key-source.js';
import { type Keyring, KEY_KIND } from '@latchkey/keyring';

interface GenerationRow {
  /** AR_i, sealed. */
  applicationRoot: Uint8Array;
  /** KID, 8 hex digits. */
  keyId: string;
  tid: string;
  joinedAt: number;
  expiresAt?: number;
}

interface FormerGenerationRow extends GenerationRow {
  until: number;
}

export interface NodeKeysRow {
  state: KeyFeedState;
  stateAt: number;
  /** TID of the entry of the feed that was applied last, if one was. */
  entryTid?: string;
  current?: GenerationRow;
  former?: FormerGenerationRow[];
}

/** The keys of a node with its application roots sealed. */
export type SealedNodeKeys = StoredNodeKeys<Uint8Array>;

const NO_ENTRY = -1n;

export function fromRow({ state, stateAt, entryTid, current, former = [] }: NodeKeysRow): SealedNodeKeys {
  return {
    state,
    stateAt,
    entryTid: entryTid === undefined ? NO_ENTRY : BigInt(`0x${entryTid}`),
    current: current && fromGenerationRow(current),
    former: former.map((row) => Object.assign(fromGenerationRow(row), { until: row.until })),
  };
}

export function toRow({ state, stateAt, entryTid, current, former }: SealedNodeKeys): NodeKeysRow {
  const row: NodeKeysRow = { state, stateAt };
  if (entryTid !== NO_ENTRY) row.entryTid = entryTid.toString(16);
  if (current !== undefined) row.current = toGenerationRow(current);
  if (former.length > 0) row.former = former.map((one) => Object.assign(toGenerationRow(one), { until: one.until }));
  return row;
}

/** Returns an entry of the feed as stored, or `undefined` if it equals the stored state. */
export function receivedEntry(
  before: SealedNodeKeys | undefined,
  { idI, state, tid, expiry, applicationRoot }: KeyFeedEntry,
  wallMs: number,
  seal: (applicationRoot: Secret) => Uint8Array,
): ReceivedEntry<Uint8Array> | undefined {
  const isKnown = before?.state === state && before.entryTid === tid;
  if (state !== 'current') return isKnown ? undefined : { state, tid };
  if (applicationRoot === undefined) return undefined;
  const keyId = deriveKeyId(applicationRoot, idI);
  const expiresAt = expiry === 0 ? undefined : expiry;
  const { current } = before ?? {};
  if (isKnown && current?.keyId === keyId && current.expiresAt === expiresAt && current.tid === tid) return undefined;
  // The application root that the join brought is sealed already.
  const isStored = current?.keyId === keyId && current.tid === tid;
  const sealed = isStored ? current.applicationRoot : seal(applicationRoot);
  return { state, tid, generation: { applicationRoot: sealed, keyId, tid, joinedAt: wallMs, expiresAt } };
}

/** What is given out of a node at `now`, ms since the epoch; its application roots are copies. */
export function openKeys(
  keyring: Keyring,
  idI: number,
  { state, current, former }: SealedNodeKeys,
  now: number,
): Pick<NodeKeys, 'state' | 'current' | 'former'> {
  const open = ({ keyId, applicationRoot, joinedAt, expiresAt }: NonNullable<typeof current>): KeyGeneration => ({
    keyId,
    applicationRoot: keyring.unseal({ kind: KEY_KIND.applicationRoot, id: idI }, applicationRoot),
    joinedAt,
    expiresAt,
  });
  return {
    state,
    current: current && open(current),
    former: former
      .filter(({ until, expiresAt = Infinity }) => until > now && expiresAt >= now)
      .map((one): FormerGeneration => Object.assign(open(one), { until: one.until })),
  };
}

/** Returns true if both look the same to subscribers. */
export function isGivenOutAlike(before: SealedNodeKeys | undefined, after: SealedNodeKeys | undefined): boolean {
  if (before === undefined || after === undefined) return before === after;
  return (
    before.state === after.state &&
    before.current?.keyId === after.current?.keyId &&
    before.current?.expiresAt === after.current?.expiresAt &&
    before.former.length === after.former.length &&
    before.former.every(({ keyId, until }, i) => {
      const other = after.former.at(i);
      return keyId === other?.keyId && until === other.until;
    })
  );
}

/** Returns the resealed row, or `undefined` if the whole row is resealed already. */
export function rewrapRow(keyring: Keyring, idI: number, row: NodeKeysRow): NodeKeysRow | undefined {
  const generations = [...(row.current === undefined ? [] : [row.current]), ...(row.former ?? [])];
  if (generations.every(({ applicationRoot }) => keyring.isUnderCurrentKey(applicationRoot))) return undefined;
  const rewrap = <G extends GenerationRow>(one: G): G =>
    keyring.isUnderCurrentKey(one.applicationRoot)
      ? one
      : { ...one, applicationRoot: keyring.rewrap({ kind: KEY_KIND.applicationRoot, id: idI }, one.applicationRoot) };
  return {
    ...row,
    ...(row.current === undefined ? {} : { current: rewrap(row.current) }),
    ...(row.former === undefined ? {} : { former: row.former.map((one) => rewrap(one)) }),
  };
}

function fromGenerationRow({ applicationRoot, keyId, tid, joinedAt, expiresAt }: GenerationRow): StoredGeneration<Uint8Array> {
  return { applicationRoot, keyId, tid: BigInt(`0x${tid}`), joinedAt, expiresAt };
}

function toGenerationRow({
  applicationRoot,
  keyId,
  tid,
  joinedAt,
  expiresAt,
}: StoredGeneration<Uint8Array> | StoredFormerGeneration<Uint8Array>): GenerationRow {
  const row: GenerationRow = { applicationRoot, keyId, tid: tid.toString(16), joinedAt };
  if (expiresAt !== undefined) row.expiresAt = expiresAt;
  return row;
}
