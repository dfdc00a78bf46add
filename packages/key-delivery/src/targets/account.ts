/** Users and groups of this machine, by name or number. Node.js has no call for them. */

import { readFile } from 'node:fs/promises';
import { UsageFailure } from '@latchkey/runtime/failure';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const NUMBER = /^\d{1,9}$/;

/**
 * Looks up `USER` or `USER:GROUP` in /etc/passwd and /etc/group. Without a group it is the user's
 * own.
 *
 * @param field of the configuration, named if it is unknown
 */
export async function findAccount(text: string, field: string): Promise<Account> {
  const [user = '', group] = text.split(':');
  const entry = await findEntry('/etc/passwd', user);
  const uid = NUMBER.test(user) ? Number(user) : entry?.[2];
  if (uid === undefined) throw unknown(field, 'user', user);
  const gid = group === undefined ? entry?.[3] : NUMBER.test(group) ? Number(group) : (await findEntry('/etc/group', group))?.[2];
  if (gid === undefined) throw unknown(field, 'group', group ?? `of user ${user}`);
  return { uid: Number(uid), gid: Number(gid) };
}

async function findEntry(path: string, name: string): Promise<string[] | undefined> {
  const column = path === '/etc/passwd' && NUMBER.test(name) ? 2 : 0;
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.split(':'));
  return lines.find((fields) => fields[column] === name && fields.length > 2);
}

function unknown(field: string, what: string, name: string): UsageFailure {
  return new UsageFailure(`${field}: this machine has no ${what} ${name} in /etc/passwd and /etc/group`, {
    advice: 'Check the spelling. For a user from elsewhere write numbers, as 1001:1001.',
  });
}
