/**
 * The label of one node: its line of a manifest as a text that fits a QR code.
 *
 *   latchkey:1/ID_I/ID_C/IK/HOST:PORT
 *
 * 1 is the profile's version; IDs are 8 hex digits, IK 32. Capitals mean the same, but for the zone
 * of an IPv6 address, e.g. %eth0.
 */

import { formatId, parseId, Secret } from '@latchkey/protocol';
import { z } from 'zod';
import { describeIssue, errorMap } from '@latchkey/runtime/config';
import { formatEndpoint, peerSchema } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { ManifestLine } from './manifest.js';
import { isBlankKey, NO_KEY } from '@latchkey/runtime/files';

const SCHEME = 'latchkey';
const PROFILE = '1';
const SHAPE = `${SCHEME}:${PROFILE}/ID/CONTROLLER_ID/IK/HOST:PORT`;
/** The zone of an IPv6 address names an interface, where case counts. */
const BEFORE_ZONE = /^[^%]*/;

const idPart = z
  .string()
  .refine((text) => parseId(text) !== undefined, 'expected 8 hex digits')
  .transform((text) => Number.parseInt(text, 16));
const partsSchema = z.object({
  id: idPart,
  controller_id: idPart,
  ik: z
    .string()
    .regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hex digits')
    .refine((text) => !isBlankKey(text), NO_KEY),
  controller: peerSchema,
});

/** The label as people would write it. It holds a key. */
export function formatLabel({ idI, idC, ik, controller }: ManifestLine): string {
  return `${SCHEME}:${PROFILE}/${formatId(idI)}/${formatId(idC)}/${ik.toHex()}/${formatEndpoint(controller)}`;
}

/** The label in capitals, which a QR code has a denser alphabet for. It holds a key. */
export function formatLabelInCapitals(line: ManifestLine): string {
  return formatLabel(line).replace(BEFORE_ZONE, (text) => text.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase()));
}

/** Whether a text says of itself that it is a label, whole or not. */
export function isLabel(text: string): boolean {
  return text.trim().toLowerCase().startsWith(`${SCHEME}:`);
}

/**
 * Reads a label, in capitals or not, with white space around it or not.
 *
 * @param name of where it comes from, for messages
 * @throws UsageFailure that names the parts that are wrong, and no digit of the key
 */
export function parseLabel(text: string, name: string): ManifestLine {
  const label = text.trim().replace(BEFORE_ZONE, (part) => part.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()));
  const [head = '', id, controller_id, ik, controller, ...rest] = label.split('/');
  if (!isLabel(head)) {
    throw new UsageFailure(`${name}: expected one label, ${SHAPE}`, {
      advice: 'A scanner that types must be set to the keyboard layout of this machine.',
    });
  }
  if (head !== `${SCHEME}:${PROFILE}`) throw new UsageFailure(`${name}: version: expected a label of version ${PROFILE}`);
  if (/\s/.test(label)) throw new UsageFailure(`${name}: expected one label without white space in it`);
  if (controller === undefined || rest.length > 0) throw new UsageFailure(`${name}: expected five parts, ${SHAPE}`);
  const result = partsSchema.safeParse({ id, controller_id, ik, controller }, { error: errorMap });
  if (!result.success) throw new UsageFailure(`${name}: ${result.error.issues.map(describeIssue).join('; ')}`);
  const parts = result.data;
  return { idI: parts.id, idC: parts.controller_id, controller: parts.controller, ik: Secret.fromHex(parts.ik) };
}
