/**
 * Another master key for the registry: everything is sealed anew while the server runs, and a crash
 * costs nothing but time.
 */

import { type NextMasterKey, KEY_KIND, rotate } from '@latchkey/keyring';
import { rewrapTable } from '@latchkey/lmdb';
import type { Registry } from './lmdb-registry.js';

/** @param progress nodes looked at so far */
export async function rotateMasterKey(
  { tables }: Registry,
  next: NextMasterKey,
  progress?: (done: number) => void,
): Promise<void> {
  const { keyring, nodes, controllers, metadata, audit, folder } = tables;
  const write = <T>(action: () => T): Promise<T> => tables.write(action);
  await rotate({
    folder,
    metadata,
    keyring,
    next,
    write,
    refreshSnapshot: () => tables.refreshSnapshot(),
    onBegun: () => audit.append({ what: 'master key rotation started', key: next.key }, Date.now()),
    onFinished: () => audit.append({ what: 'master key rotated', key: next.key }, Date.now()),
    async rewrapAll() {
      let done = 0;
      await rewrapTable(
        nodes,
        write,
        (id, row) =>
          keyring.isUnderCurrentKey(row.key)
            ? undefined
            : {
                ...row,
                key: keyring.rewrap({ kind: KEY_KIND.node, id }, row.key),
                // Sealed with the key, each time.
                ...(row.half === undefined ? {} : { half: keyring.rewrap({ kind: KEY_KIND.installerHalf, id }, row.half) }),
              },
        (rows) => progress?.((done += rows)),
      );
      await rewrapTable(controllers, write, (id, row) => ({
        ...row,
        skCs: keyring.rewrap({ kind: KEY_KIND.controller, id }, row.skCs),
        ...(row.stagedSkCs === undefined
          ? {}
          : { stagedSkCs: keyring.rewrap({ kind: KEY_KIND.stagedController, id }, row.stagedSkCs) }),
      }));
      await write(() =>
        metadata.putSync(
          'initial key id key',
          keyring.rewrap({ kind: KEY_KIND.initialKeyId, id: 0 }, metadata.get('initial key id key') as Uint8Array),
        ),
      );
      await write(() => tables.rewrapTransactionKey());
    },
  });
}
