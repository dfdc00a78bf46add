/**
 * URLs that name a registry in PostgreSQL, parsed as far as each command needs. The schema of the
 * rest takes long to load. Passwords are in files only, because other users can see a command line
 * and a URL.
 */

import { UsageFailure } from '@latchkey/runtime/failure';

export const URL_SYNTAX = 'postgres://USER@HOST:PORT,HOST:PORT/DATABASE';
export const PASSWORD_ADVICE = 'Write it to a file of mode 0600, and name that file with password_file.';

const URL_SCHEME = /^postgres(?:ql)?:\/\//i;
/** Parts of a URL in which a password would be. */
const PASSWORD_IN_URL = /^postgres(?:ql)?:\/\/[^/?#]*:[^/?#]*@|[?&](?:password|passwd|pass|pw)=/i;

/** Whether a text is meant to be a URL of a database, and no path. */
export function isPostgresUrl(text: string): boolean {
  return URL_SCHEME.test(text);
}

/** @throws UsageFailure that repeats no part of the URL: a password may be in any */
export function requireNoPassword(url: string, option: string): void {
  if (!PASSWORD_IN_URL.test(url)) return;
  throw new UsageFailure(`${option}: there is a password in the URL`, {
    advice: `Others on this machine may have seen it: choose another one. ${PASSWORD_ADVICE} ${URL_SYNTAX}?password_file=/etc/latchkey/postgres-password`,
  });
}
