/** `key` where a controller runs on the folder and has the key: without the program. */

import { parseKeyArguments, printDirectly } from '@latchkey/runtime/key-arguments';
import { formatKeys, selectGenerations } from '@latchkey/runtime/key-output';
import { askDaemon } from './daemon-keys.js';

const ID = /^[0-9a-f]{8}$/i;

/** Returns false if the program has to do it: nothing was printed then. */
export async function printFromDaemon(words: readonly string[]): Promise<boolean> {
  // As in `main`: Node.js would open its debugger to every user of this machine.
  process.on('SIGUSR1', () => undefined);
  const query = parseKeyArguments(words);
  const [given = '', ...more] = query?.positionals ?? [];
  if (query === undefined || !ID.test(given) || more.length > 0) return false;
  const id = given.toLowerCase();
  const answer = await askDaemon(query.state, { ...query, id });
  if (answer === undefined || 'error' in answer) return false;
  const generations = selectGenerations(answer.generations, query);
  if (generations.length === 0) return false;
  printDirectly(formatKeys(id, generations, query));
  return true;
}
