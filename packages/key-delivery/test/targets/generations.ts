import { randomBytes } from 'node:crypto';
import type { DeliveredNode, FormerKeys } from '../../src/targets/key-snapshot.js';

export const LABEL = 'mqtt-psk';

export function keyHex(): string {
  return randomBytes(16).toString('hex');
}

function kidHex(): string {
  return randomBytes(4).toString('hex');
}

/** A node with one generation, without expiry. */
export function node(
  id: string,
  more: Partial<DeliveredNode['current']> = {},
  former: readonly FormerKeys[] = [],
): DeliveredNode {
  return { id, current: { kid: kidHex(), keys: { [LABEL]: keyHex() }, joinedAt: 0, notAfter: undefined, ...more }, former };
}
