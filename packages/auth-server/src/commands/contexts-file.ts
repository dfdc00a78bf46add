/** Remote registries by the names that this user gave them. Tokens are in separate files. */

import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { environment, loadPrivateJson } from '@latchkey/runtime/config';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { ensurePrivateFolder, exists, lockFolder, replaceFile } from '@latchkey/runtime/files';
import { z } from 'zod';

/** Contexts of one user: more would be a mistake. */
const MAX_CONTEXTS = 256;

export interface SavedContext {
  readonly server: string;
  readonly token_file?: string | undefined;
  readonly ca_file?: string | undefined;
  readonly pin?: string | undefined;
  readonly client_cert?: string | undefined;
  readonly client_key?: string | undefined;
  readonly identity_file?: string | undefined;
}

const contextSchema: z.ZodType<SavedContext> = z.strictObject({
  server: z.string(),
  token_file: z.string().optional(),
  ca_file: z.string().optional(),
  pin: z.string().optional(),
  client_cert: z.string().optional(),
  client_key: z.string().optional(),
  identity_file: z.string().optional(),
});

export interface Contexts {
  /** Name of the context in use. */
  readonly current: string | null;
  readonly contexts: Readonly<Record<string, SavedContext>>;
}

const fileSchema: z.ZodType<Contexts> = z.strictObject({
  current: z.string().nullable(),
  contexts: z.record(z.string(), contextSchema),
});

/** Path of the file, which belongs to the user, not to the machine. */
export function contextsPath(): string {
  return join(environment('XDG_CONFIG_HOME') ?? join(homedir(), '.config'), 'latchkey', 'contexts.json');
}

/** Returns no contexts if none was ever saved. */
export async function readContexts(): Promise<Contexts> {
  const path = contextsPath();
  if (!(await exists(path))) return { current: null, contexts: {} };
  return loadPrivateJson(fileSchema, path, 'Remove it, and add the contexts again: latchkey-auth-server context add --help');
}

/**
 * Changes the saved contexts, and returns the former ones. A lock excludes other commands: two
 * concurrent changes would undo each other. If `change` throws, nothing is changed.
 */
export async function changeContexts(change: (saved: Contexts) => Contexts): Promise<Contexts> {
  const path = contextsPath();
  const folder = dirname(path);
  await ensurePrivateFolder(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server context', 'Nothing was changed. Run this once that has ended.');
  try {
    const before = await readContexts();
    const contexts = change(before);
    if (Object.keys(contexts.contexts).length > MAX_CONTEXTS)
      throw new UsageFailure(`there are ${MAX_CONTEXTS} contexts already`, { advice: 'Remove those that are not needed.' });
    await replaceFile(path, `${JSON.stringify(contexts, null, 2)}\n`);
    return before;
  } finally {
    await lock.release();
  }
}

/** @throws NotFound if there is none of that name */
export function contextNamed({ contexts }: Contexts, name: string): SavedContext {
  const found = Object.hasOwn(contexts, name) ? contexts[name] : undefined;
  if (found !== undefined) return found;
  throw new NotFound(`there is no context ${name}`, {
    advice: 'List them:',
    run: [['latchkey-auth-server', 'context', 'list']],
  });
}
