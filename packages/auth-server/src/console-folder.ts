import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists } from '@latchkey/runtime/files';

/** Folders of the built console: next to the installed program, and in a checkout. */
const PLACES = ['./console/', '../../console/dist/'];

/** Returns `undefined` where the console is not installed. */
export async function findConsole(): Promise<string | undefined> {
  for (const place of PLACES) {
    const folder = fileURLToPath(new URL(place, import.meta.url));
    if (await exists(join(folder, 'index.html'))) return folder;
  }
  return undefined;
}
