/**
 * A file of nodes of this machine, imported into a registry elsewhere. It is encrypted on the way.
 */

import { type ImportContext, importRefusal, type ImportDetails, readImportFile } from '@latchkey/operations';
import { type ImportInput, type ImportOutcome, importsRun } from '@latchkey/operations/contract';
import { encryptManifest } from '@latchkey/provisioning';
import { z } from 'zod';
import { MAX_IMPORT_FILE } from '../large-bodies.js';
import { importPreviewSchema, importResultSchema } from '../resources/imports.js';
import { refuseKeysFromHere } from './remote-keys.js';
import type { RouteCaller } from './route-caller.js';

const recipientSchema = z.object({ recipient: z.string() });

type Extras = Pick<ImportContext, 'file' | 'decrypt' | 'readDeviceKeys' | 'report' | 'approve' | 'progress'>;

/** Previews the import, then runs exactly the previewed one. */
export async function importNodes(
  api: RouteCaller,
  { manufacturer: _, dry_run: isDry, ...terms }: ImportInput,
  { file: source, decrypt, readDeviceKeys, report, approve, progress }: Extras,
): Promise<ImportOutcome> {
  refuseKeysFromHere(readDeviceKeys, 'device keys');
  if (typeof source !== 'string') throw new RangeError('a command names a file');
  const file = await sealedFile(api, source, decrypt);
  const preview = importPreviewSchema.parse(await api.fetch(importsRun.name, { ...terms, file, dry_run: true }));
  const { moves, shared_keys: sharedKeys, expect, additions, ...effect } = preview;
  const outcome = importsRun.output.parse({
    ...effect,
    additions: isDry ? additions : [],
    dry_run: isDry,
    done: false,
    order: null,
  });
  const details: ImportDetails = {
    nodes: moves.reduce((sum, { nodes }) => sum + nodes, 0),
    ways: new Map(moves.map(({ way, nodes }) => [way, nodes])),
    sharedKeys,
  };
  await report?.(outcome, details);
  if (expect === null) throw importRefusal(outcome, details, source);
  if (isDry) return outcome;
  if (details.nodes > 0) await approve?.(details);
  const result = importResultSchema.parse(await api.fetch(importsRun.name, { ...terms, file, expect }, progress));
  return { ...outcome, ...result, done: true };
}

/** In base64. What is wrong with the file itself is found before anything is sent. */
async function sealedFile(api: RouteCaller, path: string, decrypt: ImportContext['decrypt']): Promise<string> {
  const octets = await readImportFile(path, decrypt, MAX_IMPORT_FILE);
  try {
    const { recipient } = recipientSchema.parse(await api.fetch('imports.recipient', {}));
    return Buffer.from(await encryptManifest(octets, { recipients: [recipient] })).toString('base64');
  } finally {
    octets.fill(0);
  }
}
