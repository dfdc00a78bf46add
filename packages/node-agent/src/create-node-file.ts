/** Installs a node: makes its file. */

import { join } from 'node:path';
import { createFile, ensurePrivateFolder, exists, replaceFile } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatNode, type StoredNode } from './node-file.js';
import { NODE_FILE } from './node-json.js';

/**
 * Installs a node (the draft's step 3). Unless `replace` is set, refuses if a node is installed:
 * its key would be lost.
 */
export async function createNodeFile(folder: string, record: StoredNode, replace: boolean): Promise<void> {
  await ensurePrivateFolder(folder);
  const path = join(folder, NODE_FILE);
  if (replace) return replaceFile(path, formatNode(record));
  if (await exists(path)) {
    throw new UsageFailure(`${folder} holds an installed node already`, {
      advice: 'Nothing was changed. To give up the key it has, install again with --replace.',
    });
  }
  return createFile(path, formatNode(record));
}
