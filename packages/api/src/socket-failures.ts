/** Why the API cannot serve on a unix socket, and what to do. */

import { dirname } from 'node:path';
import { formatCommandLine } from '@latchkey/runtime/cli';
import { Failure, systemCode, systemFailure } from '@latchkey/runtime/failure';

/** What the kernel says of a socket, or of a folder, of another user. */
const NOT_ALLOWED: ReadonlySet<string | undefined> = new Set(['EACCES', 'EPERM']);
const OTHER_PATH = 'choose another path with `socket:` below `api:` of the configuration.';

export function socketFailure(path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { message, advice, cause } = systemFailure(`cannot serve the API on unix:${path}`, error);
  const code = systemCode(error);
  if (code === 'EADDRINUSE') return new Failure(message, { cause, advice: `Stop it, or ${OTHER_PATH}` });
  if (NOT_ALLOWED.has(code))
    return new Failure(message, {
      cause,
      advice: `The user of the API must be able to write to ${dirname(path)}. A socket that another user left there must go first, by that user or root (${formatCommandLine(['rm', path])}); or ${OTHER_PATH}`,
    });
  return new Failure(message, { ...(advice === undefined ? {} : { advice }), cause });
}

/** @param group as the configuration has it */
export function groupFailure(path: string, group: string, error: unknown): Failure {
  const { message, advice, cause } = systemFailure(`cannot give unix:${path} to the group ${group}`, error);
  if (systemCode(error) !== 'EPERM') return new Failure(message, { ...(advice === undefined ? {} : { advice }), cause });
  return new Failure(message, {
    cause,
    advice: `The user of the API must be in that group. A unit of systemd needs SupplementaryGroups=${group} and SystemCallFilter=@chown in a drop-in.`,
  });
}
