/**
 * What a simulated node keeps in its one file. Mirrors `node-file.ts` of packages/node-agent,
 * without what no rule depends on.
 */

import { type Confirmation, type NodeState, Secret } from '@latchkey/protocol';
import { keyText } from './key-text.js';

/**
 * Powered time at some moment, in ms, the boot and uptime it was saved in, and how many boots the
 * node had seen.
 */
export interface SavedUptime {
  readonly ms: number;
  readonly boot: number;
  readonly uptime: number;
  readonly boots: number;
}

export interface StoredNode {
  readonly state: NodeState;
  readonly keyLease: Confirmation | undefined;
  readonly powered: SavedUptime | undefined;
}

interface StoredNodeJson extends Omit<StoredNode, 'state'> {
  readonly state: Omit<NodeState, 'confirmed' | 'candidates'> & {
    readonly confirmed: string;
    readonly candidates: readonly { readonly psk: string; readonly storedAt: number }[];
  };
}

export function formatNode({ state, keyLease, powered }: StoredNode): string {
  const { confirmed, candidates, ...rest } = state;
  const json: StoredNodeJson = {
    state: {
      ...rest,
      confirmed: keyText(confirmed),
      candidates: candidates.map(({ psk, storedAt }) => ({ psk: keyText(psk), storedAt })),
    },
    keyLease,
    powered,
  };
  return JSON.stringify(json);
}

/** The keys in the file of a node, the confirmed one first. Throws where `text` is not whole. */
export function keysIn(text: string): string[] {
  const { state } = JSON.parse(text) as StoredNodeJson;
  return [state.confirmed, ...state.candidates.map(({ psk }) => psk)];
}

/** Throws where `text` is not whole. */
export function parseNode(text: string): StoredNode {
  const { state, keyLease, powered } = JSON.parse(text) as StoredNodeJson;
  const { confirmed, candidates, ...rest } = state;
  return {
    state: {
      ...rest,
      confirmed: Secret.fromHex(confirmed),
      candidates: candidates.map(({ psk, storedAt }) => ({ psk: Secret.fromHex(psk), storedAt })),
    },
    keyLease,
    powered,
  };
}
