/**
 * Checks the invariants of docs/PROTOCOL.md. Only the oracle knows every key, all messages with
 * their senders, and the state of each disk after a crash. The shells report to it what they send,
 * accept and store. It throws a Violation as soon as an invariant is broken.
 *
 * Nodes whose key the attacker holds ("compromised") are outside the invariants' premise and are
 * not checked. The oracle does check that the compromise spreads to no other node.
 */

import { COMMIT_TIMEOUT_MS, deriveApplicationRoot, Secret } from '@latchkey/protocol';
import { type Simulation, Violation } from './simulation.js';
import { keyText } from './key-text.js';
import type { Datagram, Kind } from './network.js';
import { keysIn } from './stored-node.js';
import type { PossibleContent } from './disk.js';
import type { RegistryRow } from './simulated-registry.js';

/** Octets as a text that a map can hold. */
export function textOf(octets: Uint8Array): string {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('latin1');
}

/** What a sent message is about: who it is for, the transaction, and the message it answers. */
export type MessageContext = readonly (string | number | bigint)[];

/** That a node was assigned to another controller until then. */
interface Reassigned {
  readonly from: number;
  readonly at: number;
}

interface TrackedCommit {
  readonly lifetime: number;
  readonly assigned: boolean;
}

interface TrackedNode {
  /** All that its disk may come back with. */
  possibleContents: () => readonly PossibleContent[];
  /** What it works with, while it runs. */
  keysInUse: () => readonly Secret[] | undefined;
  joins: number;
}

const NODE_KEY_LENGTH = 16;

export class Oracle {
  readonly #simulation: Simulation;
  readonly #compromised = new Set<number>();
  /**
   * Nodes that are put back to their initial key: done on the device or in the registry, and not
   * yet on both.
   */
  readonly #resetting = new Set<number>();
  readonly #nodes = new Map<number, TrackedNode>();
  readonly #rows = new Map<number, RegistryRow>();
  readonly #reassigned = new Map<number, Reassigned[]>();
  /** By node and key. */
  readonly #commits = new Map<string, TrackedCommit>();
  /** What honest roles have sent: octets -> what it was. */
  readonly #sent = new Map<string, string>();
  /** What was sealed under each (key, nonce). */
  readonly #sealed = new Map<string, string>();
  /** Keys that only server, node and honest controllers know: octets -> whose. */
  readonly #protectedKeys = new Map<string, string>();
  readonly #keyStarts = new Set<number>();
  /** Octets that dishonest pass-through controllers came by, in hex digits: key size. */
  readonly #passThroughKnowledge = new Map<string, string>();
  /** RN_c' that the server gave: octets -> for what. */
  readonly #contributions = new Map<string, string>();
  /** Application roots, in hex digits, by node, controller and TID of the commit. */
  readonly #roots = new Map<string, string>();
  readonly #parsed = new Map<string, readonly string[]>();
  /** Counts of events, which show whether a run made progress. */
  readonly counts = {
    commits: 0,
    joins: 0,
    promotions: 0,
    replaced: 0,
    waits: 0,
    conflicts: 0,
    expired: 0,
    resets: 0,
    heldOff: 0,
    relayed: 0,
    switched: 0,
    dishonest: 0,
  };

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  // What there is.

  addNode(idI: number, possibleContents: () => readonly PossibleContent[], keysInUse: () => readonly Secret[] | undefined): void {
    this.#nodes.set(idI, { possibleContents, keysInUse, joins: 0 });
  }

  /** The attacker holds this node's key, and with what it sees every key that follows. */
  markCompromised(idI: number): void {
    this.#compromised.add(idI);
  }

  /**
   * An administrator puts the node back to its initial key: until that is done the two may differ.
   */
  resetBegins(idI: number): void {
    this.#resetting.add(idI);
  }

  resetEnds(idI: number): void {
    this.#resetting.delete(idI);
    this.counts.resets += 1;
    this.checkLockout(idI);
  }

  isHonest(idI: number): boolean {
    return this.#nodes.has(idI) && !this.#compromised.has(idI);
  }

  /** `whose` key nobody else may learn. */
  protectKey(key: Secret, whose: string): void {
    this.#protectKey(keyText(key), whose);
  }

  joinsOf(idI: number): number {
    return this.#nodes.get(idI)?.joins ?? 0;
  }

  /** Returns true if the node holds K_i as its confirmed key, and has no candidate. */
  hasJoined(idI: number): boolean {
    const row = this.#rows.get(idI);
    const node = this.#nodes.get(idI);
    return (
      row !== undefined &&
      !row.initial &&
      node !== undefined &&
      node.possibleContents().every((found) => typeof found === 'object' && this.#keysIn(found.text).join() === row.key)
    );
  }

  // Invariants 1, 2 and 4: keys.

  /** A row of the registry has changed: by a commit, or by the administrator. */
  rowChanged(row: RegistryRow): void {
    const before = this.#rows.get(row.idI);
    this.#rows.set(row.idI, row);
    const { committed } = row;
    if (before !== undefined && before.controller !== row.controller)
      this.#reassigned.set(row.idI, [
        ...(this.#reassigned.get(row.idI) ?? []),
        { from: before.controller, at: this.#simulation.now },
      ]);
    if (committed !== undefined && before?.key !== row.key) {
      this.counts.commits += 1;
      this.#commits.set(`${row.idI} ${row.key}`, {
        lifetime: committed.lifetime,
        assigned: committed.idC === row.controller || this.#wasAssigned(row.idI, committed.idC),
      });
      if (this.isHonest(row.idI)) this.#protectKey(row.key, `node n${row.idI}`);
      this.#recordRoot(row);
    }
    this.checkLockout(row.idI);
  }

  rowRemoved(idI: number): void {
    this.#rows.delete(idI);
  }

  /** A row is as it was in a backup: nothing was committed. */
  rowRestored(row: RegistryRow): void {
    this.#rows.set(row.idI, row);
    this.#recordRoot(row);
    this.checkLockout(row.idI);
  }

  /** A row is another one after a failover: as before a commit, or as after one. */
  rowPromoted(row: RegistryRow): void {
    if (row.committed === undefined || this.#commits.has(`${row.idI} ${row.key}`)) this.rowRestored(row);
    else this.rowChanged(row);
  }

  #recordRoot({ idI, key, committed }: RegistryRow): void {
    if (committed === undefined) return;
    const { idC, tid } = committed;
    this.#roots.set(`${idI} ${idC} ${tid}`, keyText(deriveApplicationRoot(Secret.fromHex(key), idI)));
  }

  /**
   * A commit is judged before it is written: one that was under way when the administrator
   * reassigned the node still counts.
   */
  #wasAssigned(idI: number, idC: number): boolean {
    const since = this.#simulation.now - COMMIT_TIMEOUT_MS - 1_000;
    return (this.#reassigned.get(idI) ?? []).some(({ from, at }) => from === idC && at >= since);
  }

  /** Invariant 1, for what the node works with and for all that its disk may come back with. */
  checkLockout(idI: number): void {
    const row = this.#rows.get(idI);
    const node = this.#nodes.get(idI);
    if (row === undefined || node === undefined || this.#compromised.has(idI) || this.#resetting.has(idI)) return;
    for (const found of node.possibleContents()) {
      if (typeof found === 'string')
        throw new Violation(1, `node n${idI} could come back from a loss of power with no file that can be read`);
      if (!this.#keysIn(found.text).includes(row.key))
        throw new Violation(1, `node n${idI} holds on its disk, or may after a crash, none that is K_i at the server`);
    }
    const held = node.keysInUse();
    if (held !== undefined && !held.some((key) => keyText(key) === row.key))
      throw new Violation(1, `node n${idI} works with keys none of which is K_i at the server`);
  }

  /**
   * Invariant 2: the node is about to confirm `key`. `lifetime`: the value in M6, if an M6
   * confirmed it.
   */
  checkConfirmed(idI: number, key: Secret, lifetime: number | undefined): void {
    if (this.#compromised.has(idI)) return;
    const commit = this.#commits.get(`${idI} ${keyText(key)}`);
    if (commit === undefined) throw new Violation(2, `node n${idI} confirms a key the server has not committed for it`);
    if (!commit.assigned)
      throw new Violation(2, `node n${idI} confirms a key committed through a controller it is not assigned to`);
    if (lifetime !== undefined && lifetime !== commit.lifetime)
      throw new Violation(2, `node n${idI} is told a lifetime of ${lifetime} s, the server committed ${commit.lifetime} s`);
    if (lifetime === undefined) this.counts.promotions += 1;
    else this.counts.joins += 1;
    const node = this.#nodes.get(idI);
    if (node !== undefined && lifetime !== undefined) node.joins += 1;
  }

  /** Invariant 4: the attacker has found out a key. */
  attackerLearns(key: Secret, how: string): void {
    const whose = this.#protectedKeys.get(keyText(key));
    if (whose !== undefined) throw new Violation(4, `the attacker learns a key of ${whose} ${how}`);
  }

  /** Invariants 4 and 8: the server is about to give K_i to controller `idC`. */
  checkServed(idI: number, idC: number, isPassThrough: boolean): void {
    const row = this.#rows.get(idI);
    if (isPassThrough) throw new Violation(8, `the server gives the key of node n${idI} to c${idC}, which is pass-through`);
    if (this.isHonest(idI) && row?.controller !== idC)
      throw new Violation(4, `the server gives the key of node n${idI} to controller c${idC}, which it is not assigned to`);
  }

  // Invariant 8: pass-through controllers.

  /**
   * A dishonest pass-through controller learned these octets, and may try them as a key. Checks
   * whether they are a node's key, now or later.
   */
  passThroughLearns(idC: number, octets: Uint8Array, how: string): void {
    const text = hexOf(octets);
    this.#passThroughKnowledge.set(text, `c${idC} learns it ${how}`);
    const whose = this.#protectedKeys.get(text);
    if (whose !== undefined) throw new Violation(8, `c${idC}, which is pass-through, learns a key of ${whose} ${how}`);
  }

  /**
   * The server has put `rnC` into a C4: each transaction has another one, whatever a controller
   * repeats of ID_c, TID, TS, RN_c and M1.
   */
  checkContribution(rnC: Uint8Array, context: MessageContext): void {
    const [text, what] = [textOf(rnC), context.join(' ')];
    const before = this.#contributions.get(text) ?? what;
    if (before !== what) throw new Violation(8, `one RN_c' stands for ${readable(before)} and for ${readable(what)}`);
    this.#contributions.set(text, before);
  }

  /** A pass-through controller is about to be given the application root of a key. */
  checkApplicationRoot(idI: number, idC: number, tid: bigint, root: Secret): void {
    if (this.#roots.get(`${idI} ${idC} ${tid}`) === keyText(root)) return;
    throw new Violation(8, `c${idC} is given what is not the application root of the key that n${idI} has proven`);
  }

  // Invariants 3, 5 and 6: messages.

  /** An honest role has sealed, and is about to send, `octets`. */
  recordSent(kind: Kind, octets: Uint8Array, context: MessageContext): void {
    this.recordRelayed(kind, octets, context);
    this.#sealedOnce(kind, octets, context, textOf(octets));
  }

  /**
   * The server has sealed what a pass-through controller may send, and need not: which M4 of a TID
   * a node gets to see is the controller's to say.
   */
  recordRelayed(kind: Kind, octets: Uint8Array, context: MessageContext): void {
    const text = textOf(octets);
    const what = `${kind} ${context.join(' ')}`;
    const before = this.#sent.get(text);
    if (before === undefined) this.#sent.set(text, what);
    else if (before !== what) throw new Violation(5, `one text was sent as ${readable(before)} and as ${readable(what)}`);
  }

  /** Invariant 5: an honest role has accepted `octets` as `kind`, about that. */
  checkAccepted(who: string, kind: Kind, octets: Uint8Array, context: MessageContext): void {
    const sent = this.#sent.get(textOf(octets));
    if (sent === `${kind} ${context.join(' ')}`) return;
    const instead = sent === undefined ? 'nobody honest has sent' : `was sent as ${readable(sent)}`;
    throw new Violation(5, `${who} accepts as ${readable(`${kind} ${context.join(' ')}`)} what ${instead}`);
  }

  /** Invariant 6: no datagram on the network contains a key in clear, whoever its sender is. */
  assertNotInClear({ payload }: Datagram, sender: string): void {
    for (let at = 0; at + NODE_KEY_LENGTH <= payload.length; at++) {
      const start =
        (((payload[at] ?? 0) << 24) | ((payload[at + 1] ?? 0) << 16) | ((payload[at + 2] ?? 0) << 8) | (payload[at + 3] ?? 0)) >>>
        0;
      if (!this.#keyStarts.has(start)) continue;
      const key = hexOf(payload.subarray(at, at + NODE_KEY_LENGTH));
      const whose = this.#protectedKeys.get(key);
      if (whose !== undefined) throw new Violation(6, `${sender} sends the key of ${whose} in clear`);
    }
  }

  /** Invariant 6: what a role says in a log or an error shows no key. */
  assertNoKeyInLog(who: string, text: string): void {
    for (const [digits] of text.matchAll(/[0-9a-f]{32}/gi)) {
      const whose = this.#protectedKeys.get(digits.toLowerCase());
      if (whose !== undefined) throw new Violation(6, `${who} says the key of ${whose}`);
    }
  }

  /**
   * Invariant 3. CCM is deterministic: one (key, nonce) pair seals one text if and only if it gives
   * one ciphertext and tag. Nonces under node keys are held to more: a controller uses none of them
   * twice, whatever the key, and a node none of its own.
   */
  #sealedOnce(kind: Kind, octets: Uint8Array, context: MessageContext, text: string): void {
    const use = nonceOf(kind, octets, context);
    if (use === undefined) return;
    const before = this.#sealed.get(use) ?? text;
    if (before !== text) throw new Violation(3, `two texts sealed under ${readable(use)}`);
    this.#sealed.set(use, before);
  }

  #keysIn(found: string): readonly string[] {
    const known = this.#parsed.get(found);
    if (known !== undefined) return known;
    const keys = keysIn(found);
    this.#parsed.set(found, keys);
    return keys;
  }

  #protectKey(text: string, whose: string): void {
    if (this.#protectedKeys.has(text)) return;
    const known = this.#passThroughKnowledge.get(text);
    if (known !== undefined) throw new Violation(8, `a key of ${whose} is known to a pass-through controller: ${known}`);
    this.#protectedKeys.set(text, whose);
    this.#keyStarts.add(Number.parseInt(text.slice(0, 8), 16));
  }
}

/**
 * Under whose key, and which nonce: M4, M5 and M6 have theirs from ID_c and TID, which `context`
 * begins with.
 */
function nonceOf(kind: Kind, octets: Uint8Array, context: MessageContext): string | undefined {
  switch (kind) {
    case 'M2':
    case 'M7':
      return `SK of c${context[0]}, nonce ${textOf(octets.subarray(13, 26))}`;
    case 'M3':
    case 'M8':
    case 'M9':
      return `SK of c${context[0]}, nonce ${textOf(octets.subarray(1, 14))}`;
    case 'M4':
    case 'M6':
      return `nonce of ${kind} c${context[0]} ${context[1]}`;
    case 'M5':
      return `nonce of M5 c${context[0]} ${context[1]} at n${context[2]}`;
    case 'M1':
    case 'error':
      return undefined;
  }
}

function hexOf(octets: Uint8Array): string {
  let text = '';
  for (const octet of octets) text += octet.toString(16).padStart(2, '0');
  return text;
}

/** Octets that stand in a text as characters, as hex digits. */
function readable(text: string): string {
  return text.replace(/[^ -~]+/g, (octets) => `[${octets.length} octets]`);
}
