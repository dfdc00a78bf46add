/** The label of one node: its line of a manifest as a text, and that text read back. */

import { formatId, parseId, Secret } from '@latchkey/protocol';
import { z } from 'zod';
import { describeIssue, errorMap } from '@latchkey/runtime/config';
import { formatEndpoint, peerSchema } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import {
  formatLabelText,
  isLabel,
  LABEL_HEAD,
  LABEL_SHAPE,
  LABEL_VERSION,
  labelInCapitals,
  normalizeLabel,
} from './label-text.js';
import type { ManifestLine } from './manifest.js';
import { isBlankKey, NO_KEY } from '@latchkey/runtime/files';

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
  return formatLabelText({
    id: formatId(idI),
    controllerId: formatId(idC),
    ik: ik.toHex(),
    controller: formatEndpoint(controller),
  });
}

/** The label in capitals, which a QR code has a denser alphabet for. It holds a key. */
export function formatLabelInCapitals(line: ManifestLine): string {
  return labelInCapitals(formatLabel(line));
}

/**
 * Reads a label, in capitals or not, with white space around it or not.
 *
 * @param name of where it comes from, for messages
 * @throws UsageFailure that names the parts that are wrong, and no digit of the key
 */
export function parseLabel(text: string, name: string): ManifestLine {
  const label = normalizeLabel(text);
  const [head = '', id, controller_id, ik, controller, ...rest] = label.split('/');
  if (!isLabel(head)) {
    throw new UsageFailure(`${name}: expected one label, ${LABEL_SHAPE}`, {
      advice: 'A scanner that types must be set to the keyboard layout of this machine.',
    });
  }
  if (head !== LABEL_HEAD) throw new UsageFailure(`${name}: version: expected a label of version ${LABEL_VERSION}`);
  if (/\s/.test(label)) throw new UsageFailure(`${name}: expected one label without white space in it`);
  if (controller === undefined || rest.length > 0) throw new UsageFailure(`${name}: expected five parts, ${LABEL_SHAPE}`);
  const result = partsSchema.safeParse({ id, controller_id, ik, controller }, { error: errorMap });
  if (!result.success) throw new UsageFailure(`${name}: ${result.error.issues.map(describeIssue).join('; ')}`);
  const parts = result.data;
  return { idI: parts.id, idC: parts.controller_id, controller: parts.controller, ik: Secret.fromHex(parts.ik) };
}
