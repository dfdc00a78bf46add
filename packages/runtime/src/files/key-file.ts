import { dirname } from 'node:path';
import { KEY_LENGTH, Secret } from '@latchkey/protocol';
import { systemCode, UsageFailure } from '../failure.js';
import { exists, readPrivateFile } from './files.js';
import { isBlankKey, NO_KEY } from './blank-key.js';
import { readSecretInput } from '../cli/secret-prompt.js';

const KEY_PATTERN = /^[0-9a-fA-F]{32}$/;

/**
 * A key from a 0600 file that holds its 32 hex digits, or from standard input for `-`: a terminal
 * does not show it.
 */
export async function readKeyFile(path: string): Promise<Secret> {
  if (KEY_PATTERN.test(path)) {
    throw new UsageFailure('the name of a file was expected, or -, not the key itself', {
      advice: 'A key is never an argument: others could read it.',
    });
  }
  if (path !== '-') return parseKey(await readPrivateFile(path), path);
  return parseKey(await readSecretInput('Initial key (it is not shown):', 'a key'), 'standard input');
}

/** What a name says that belongs to no file. */
const NOT_A_FILE_ERRORS: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']);

/**
 * The private file that `option` names. A name is repeated only if it is in a folder that is there:
 * any other text may be the secret itself.
 */
export async function readSecretFile(path: string, option: string): Promise<string> {
  try {
    return await readPrivateFile(path);
  } catch (error) {
    if (!(error instanceof UsageFailure) || !NOT_A_FILE_ERRORS.has(systemCode(error.cause))) throw error;
    const folder = dirname(path);
    const isPath = folder !== '.' && folder !== '/' && (await exists(folder).catch(() => false));
    const name = isPath ? `, ${path},` : '';
    throw new UsageFailure(`the file that ${option} names${name} is not there`, {
      advice: 'It takes the name of a file. A secret is never an argument: others could read it.',
    });
  }
}

/**
 * Parses 32 hex digits, white space around them.
 *
 * @param name where they come from, for the message
 */
export function parseKey(text: string, name: string, advice?: string): Secret {
  if (!KEY_PATTERN.test(text.trim())) {
    const message = `${name}: expected one key of ${2 * KEY_LENGTH} hex digits`;
    throw new UsageFailure(message, advice === undefined ? {} : { advice });
  }
  if (isBlankKey(text.trim())) throw new UsageFailure(`${name}: ${NO_KEY}`);
  return Secret.fromHex(text.trim());
}
