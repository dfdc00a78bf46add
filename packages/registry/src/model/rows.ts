/** Rows of the registry's tables, and the views that callers get of them. */

import type { Commit, LinkRefusal, ServerNodeRecord, Secret } from '@latchkey/protocol';
import type { Endpoint } from '@latchkey/runtime/net';
import { type Keyring, KEY_KIND } from '@latchkey/keyring';

/** Controllers remembered as having seen an IK; further ones are not added. */
const MAX_SEEN_BY = 16;
/**
 * Former controllers that a row names as key holders. Beyond this number the row only records that
 * others exist.
 */
const MAX_FORMER_HOLDERS = 32;

/** A controller as the registry knows it. Times are ms since the epoch, here and below. */
export interface ControllerRecord {
  readonly idC: number;
  readonly skCs: Secret;
  /** The SK_cs that is to take over as soon as the controller uses it. */
  readonly stagedSkCs?: Secret | undefined;
  /** Its address for nodes. */
  readonly nid: Endpoint;
  /** Addresses of its auth-servers. */
  readonly servers: readonly Endpoint[];
  readonly addedAt: number;
  /** It gets no key of a node: M10 and M11 in place of M3 and M8. */
  readonly passThrough?: boolean | undefined;
  /** When that was last switched, by the servers' clock. */
  readonly switchedAt?: number | undefined;
  /**
   * The audit entry of the latest switch to pass-through. The controller could have the keys of the
   * nodes that were assigned to it before that entry.
   */
  readonly passThroughEntry?: number | undefined;
  readonly description?: ControllerDescription | undefined;
}

/** A controller without its keys, which take opening. */
export type ControllerInfo = Omit<ControllerRecord, 'skCs' | 'nextSkCs'>;

/** For people: no decision about a key depends on it. */
export interface ControllerDescription {
  name?: string;
  site?: string;
  /** Whom to call about it. */
  contact?: string;
}

export interface ControllerRow {
  skCs: Uint8Array;
  stagedSkCs?: Uint8Array;
  nid: Endpoint;
  servers: Endpoint[];
  addedAt: number;
  passThrough?: true;
  switchedAt?: number;
  passThroughEntry?: number;
  /** The latest audit entry with which nodes were assigned to it. */
  assigning?: number;
  description?: ControllerDescription;
}

/**
 * What an administrator ordered from an installer, or imported: nodes that came to be together.
 *
 * - `pending`: being written, or left unfinished by a crash; its nodes are not there yet
 * - `open`, `suspended`: whether its nodes may join for the first time
 * - `closed`: none of its nodes may join for the first time any more, for good
 */
export interface OrderRecord {
  readonly number: number;
  readonly kind: 'order' | 'import';
  readonly state: 'pending' | 'open' | 'suspended' | 'closed';
  readonly installer: string;
  /** How to reach the installer. */
  readonly contact?: string | undefined;
  /** Site of its nodes, unless their descriptions name one. */
  readonly site?: string | undefined;
  /** The controller of all its nodes when it was made; an import may have several. */
  readonly idC: number | undefined;
  readonly count: number;
  readonly sharedKey: boolean;
  /** Who has the device keys of its nodes: their initial keys are split. */
  readonly manufacturer?: string | undefined;
  /** Seconds; 0 = no expiry. A node may have its own. */
  readonly lifetime: number;
  /** Seconds after expiry in which a key may still renew itself. */
  readonly grace: number;
  /** When its nodes may join for the first time. */
  readonly joinFrom?: number | undefined;
  readonly joinUntil?: number | undefined;
  readonly createdAt: number;
  /** Its entries in the audit log: its creation, and the latest. */
  readonly createdEntry: number;
  readonly entry: number;
}

export type OrderRow = Omit<OrderRecord, 'number'>;

export interface NodeRow {
  key: Uint8Array;
  initial: boolean;
  /**
   * Identity of its IK, 8 octets, and fingerprint, 2. They remain when no node holds the IK any
   * more.
   */
  ik: Uint8Array;
  controller: number;
  order: number;
  /** Its latest entry in the audit log. */
  entry: number;
  disabled?: true;
  lifetime?: number;
  grace?: number;
  joinedAt?: number;
  resetAt?: number;
  /** When its IK was handed out, if not with its order. */
  initialKeyIssuedAt?: number;
  /**
   * When it was given this IK, by the servers' clock, if its ID had had that before. Goes with the
   * IK.
   */
  reissuedAt?: number;
  /** Controllers that were given the IK. */
  seenBy?: number[];
  /**
   * Set if its IK is made of a device key and the installer's half. Outlives the IK: the device may
   * still have its half.
   */
  split?: true;
  /** The installer's half of its IK, sealed. Goes with the IK. */
  half?: Uint8Array;
  /** Who has its device key, if not the manufacturer of its order. */
  manufacturer?: string;
  committed?: { idC: number; tid: string; ts: number; nidI: Uint8Array; lifetime: number; at: number };
  /** The audit entry of its assignment to its controller, if that came after its order. */
  assignedEntry?: number;
  /** The audit entry with which it was given its IK, if not with its order. */
  initialKeyEntry?: number;
  /** Its former controllers that could have a key derived from its IK. Deleted with the IK. */
  formerHolders?: FormerHolders;
}

/** What people call a node and know of it. No message is judged by it. */
export interface NodeDescription {
  name?: string;
  site?: string;
  /** Place within the site. */
  location?: string;
  /** In ascending order, none twice. */
  tags?: string[];
  note?: string;
  /** The audit entry of its latest change, 0 if it came with the node. */
  entry: number;
}

/** Controllers that were not pass-through while a node was assigned to them. */
export interface FormerHolders {
  controllers: number[];
  /** Set if there were more than `MAX_FORMER_HOLDERS`. */
  andOthers?: true;
}

/**
 * Names an IK that was taken from a node: the audit entry with which that was done, and ID_i of the
 * node.
 */
export type RetiredInitialKeyId = readonly [entry: number, idI: number];

/**
 * An untraded IK that `remove`, `reset` or an import took from a node: the information that is
 * reported later.
 */
export interface RetiredInitialKeyRow {
  /** ID_i of the node. */
  node: number;
  ik: Uint8Array;
  order: number;
  /** ms since the epoch, as is `at`, when it was taken. */
  issuedAt: number;
  retiredAt: number;
  /** Whether the node had traded it in before. */
  joined: boolean;
  /** Who had the device key, if it was split. */
  manufacturer?: string;
  seenBy: number[];
  /** The controllers that could have a key derived from it, including the last one. */
  holders: FormerHolders;
  /** The audit entry with which the node was given it. */
  issueEntry: number;
}

/** A node with the information for administrators, without its key, which would need unsealing. */
export interface NodeInfo extends Omit<ServerNodeRecord, 'key'> {
  readonly order: number;
  /** Counts unless the node's description has a site. */
  readonly orderSite: string | undefined;
  readonly addedAt: number;
  /** When K_i was committed, by the server's clock. */
  readonly committedAt: number | undefined;
  /** When it traded its IK in. */
  readonly joinedAt: number | undefined;
  readonly resetAt: number | undefined;
  readonly ik: InitialKeyInfo;
  /** Whether its IK is, or was, made of a device key and the installer's half. */
  readonly split: boolean;
  /** Who has its device key, if it is split. */
  readonly manufacturer: string | undefined;
  readonly seenBy: readonly number[];
  /** Its latest entry in the audit log, and its order's. */
  readonly entry: number;
  readonly orderEntry: number;
  readonly orderState: OrderRecord['state'];
  /** The audit entries of its assignment to its controller, and of its IK. */
  readonly assignedEntry: number;
  readonly initialKeyEntry: number;
  readonly formerHolders: FormerHolders | undefined;
}

/**
 * The IK with which a node was registered. A join needs none of this, so texts are decoded on
 * demand.
 */
export class InitialKeyInfo {
  /** 8 octets of identity, and 2 of fingerprint. */
  readonly octets: Uint8Array;
  /** When it was handed out. */
  readonly issuedAt: number;

  constructor(octets: Uint8Array, issuedAt: number) {
    this.octets = octets;
    this.issuedAt = issuedAt;
  }

  /** 16 hex digits. */
  get id(): string {
    return Buffer.from(this.octets).toString('hex', 0, 8);
  }

  /** 4 hex digits. */
  get fingerprint(): string {
    return Buffer.from(this.octets).toString('hex', 8, 10);
  }
}

export interface UnsealedNode extends NodeInfo {
  readonly key: Secret;
  /** Its row as it was read, and the key that was in it. */
  readonly stored: UnsealedRow;
  /** Version of its controller's row at the same moment. */
  readonly controllerVersion: object | undefined;
  /** Read some time ago: whatever is in it may be different by now. */
  readonly isKept?: true;
}

/** `restoredAt`: when the registry was put back from a backup. */
export function toNodeInfo(idI: number, row: NodeRow, order: OrderRow, restoredAt: number | undefined): NodeInfo {
  const { committed } = row;
  const isJoiningClosed = order.state === 'suspended' || order.state === 'closed';
  const commit: Commit | undefined = committed && {
    idC: committed.idC,
    tid: BigInt(`0x${committed.tid}`),
    ts: committed.ts,
    nidI: committed.nidI,
    lifetime: committed.lifetime,
  };
  return {
    idI,
    initial: row.initial,
    controller: row.controller,
    disabled: row.disabled === true,
    joinFrom: order.joinFrom,
    joinUntil: isJoiningClosed ? 0 : order.joinUntil,
    lifetime: row.lifetime ?? order.lifetime,
    grace: row.grace ?? order.grace,
    reissuedAt: later(row.reissuedAt, restoredAt),
    committed: commit,
    order: row.order,
    orderSite: order.site,
    addedAt: order.createdAt,
    committedAt: committed?.at,
    joinedAt: row.joinedAt,
    resetAt: row.resetAt,
    ik: new InitialKeyInfo(row.ik, row.initialKeyIssuedAt ?? order.createdAt),
    split: row.split === true,
    manufacturer: manufacturerOf(row, order),
    seenBy: row.seenBy ?? [],
    entry: row.entry,
    orderEntry: order.entry,
    orderState: order.state,
    assignedEntry: row.assignedEntry ?? order.createdEntry,
    initialKeyEntry: row.initialKeyEntry ?? order.createdEntry,
    formerHolders: row.formerHolders,
  };
}

/**
 * Returns the controllers that could have a key derived from a node's IK. These are former ones,
 * and `idC`, the present one, unless it has been pass-through since the node was assigned to it.
 */
export function keyHolders(
  former: FormerHolders = { controllers: [] },
  idC: number,
  assignedEntry: number,
  controller: Pick<ControllerInfo, 'passThrough' | 'passThroughEntry'>,
): FormerHolders {
  const { passThrough = false, passThroughEntry = 0 } = controller;
  const { controllers } = former;
  if ((passThrough && passThroughEntry <= assignedEntry) || controllers.includes(idC)) return former;
  if (controllers.length >= MAX_FORMER_HOLDERS) return { ...former, andOthers: true };
  return { ...former, controllers: [...controllers, idC] };
}

export function later(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other > one) ? other : one;
}

/** Returns who has the device key of a node, or `undefined` if its IK is not split. */
export function manufacturerOf(row: NodeRow, order: OrderRow | undefined): string | undefined {
  return row.split === true ? (row.manufacturer ?? order?.manufacturer ?? '') : undefined;
}

/** The row's `seenBy` with `idC` in it. */
export function addSeenBy(row: NodeRow, idC: number): number[] {
  const before = row.seenBy ?? [];
  return before.includes(idC) || before.length >= MAX_SEEN_BY ? before : [...before, idC];
}

/**
 * Returns the installer's half of the node's IK, or `undefined` if the IK is not split, or traded
 * in. The caller wipes it.
 */
export function unsealInstallerHalf(keyring: Keyring, idI: number, row: NodeRow): Secret | undefined {
  return row.half === undefined ? undefined : keyring.unseal({ kind: KEY_KIND.installerHalf, id: idI }, row.half);
}

export function unsealNodeKey(keyring: Keyring, idI: number, row: NodeRow): Secret {
  return keyring.unseal({ kind: KEY_KIND.node, id: idI }, row.key);
}

export function toControllerInfo(idC: number, row: ControllerRow): ControllerInfo {
  const { nid, servers, addedAt, passThrough, switchedAt, passThroughEntry, description } = row;
  return { idC, nid, servers, addedAt, passThrough, switchedAt, passThroughEntry, description };
}

export function wipeKeys({ skCs, stagedSkCs }: ControllerRecord): void {
  skCs.wipe();
  stagedSkCs?.wipe();
}

/** Opens both keys of a controller; `wipeKeys` ends that. */
export function unsealController(keyring: Keyring, idC: number, row: ControllerRow): ControllerRecord {
  const { stagedSkCs } = row;
  return {
    ...toControllerInfo(idC, row),
    skCs: keyring.unseal({ kind: KEY_KIND.controller, id: idC }, row.skCs),
    stagedSkCs: stagedSkCs === undefined ? undefined : keyring.unseal({ kind: KEY_KIND.stagedController, id: idC }, stagedSkCs),
  };
}

/** Whether the row's key is `key`. */
export function holdsKey(keyring: Keyring, idI: number, row: NodeRow, key: Secret): boolean {
  const stored = unsealNodeKey(keyring, idI, row);
  const equal = stored.equals(key);
  stored.wipe();
  return equal;
}

/** A node's row as it was read, and its key. */
interface UnsealedRow {
  /** Of the row, as the storage gave it. */
  readonly version: object;
  readonly row: NodeRow;
  readonly key: Secret;
}

/** A run of like events, with no event between them that ends it. Times are ms since the epoch. */
export interface EventRun {
  since: number;
  at: number;
  count: number;
}

export interface RejectionRun extends EventRun {
  refusal: LinkRefusal;
  /** ID_c of who asked. */
  by: number;
  /** For `clock`: TS minus the server's clock, ms. */
  skew?: number;
}

export interface NodeActivity {
  /** An M2 for it was answered, with its key or without; since the node last proved itself. */
  keyRequested?: (EventRun & { by: number }) | undefined;
  rejected?: RejectionRun | undefined;
}

/** Requests of a controller that opened under one SK_cs. */
export interface OpenedRun extends EventRun {
  /** Fingerprint of that SK_cs. */
  key: string;
}

export interface ControllerActivity {
  lastSeen?: OpenedRun | undefined;
  /** Requests under its ID do not open. */
  authenticationFailed?: EventRun | undefined;
  /**
   * Requests whose TS is too far off, all to the same side; until one is in time. `skew`: TS minus
   * the server's clock, ms.
   */
  clockSkew?: (EventRun & { skew: number }) | undefined;
}
