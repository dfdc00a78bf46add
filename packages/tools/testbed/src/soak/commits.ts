/** Compares acknowledged commits of auth-servers with the keys of nodes and the registry. */

import type { LogLine } from '../process.js';
import type { SoakEnvironment } from './environment.js';

/** `NODE KEY` of each commit that was acknowledged, and of each key that a node has got. */
interface Commits {
  readonly acknowledged: readonly string[];
  readonly confirmed: readonly string[];
}

/** Whether an auth-server logs an acknowledged commit with this line. */
export function isCommit({ msg }: LogLine): boolean {
  return msg === 'node has a new key';
}

/** `NODE KEY` */
export function keyIn(line: LogLine): string {
  return `${String(line['node'])} ${String(line['key'])}`;
}

/** What of both the audit log lacks. */
export async function findLostCommits(environment: SoakEnvironment, { acknowledged, confirmed }: Commits): Promise<Commits> {
  const entries = await keysInAuditLog(environment);
  const missing = (keys: readonly string[]): readonly string[] => keys.filter((key) => !entries.has(key));
  return { acknowledged: missing(acknowledged), confirmed: missing(confirmed) };
}

export function describeLost({ acknowledged, confirmed }: Commits): string[] {
  return [
    ...acknowledged.map((key) => `a commit was acknowledged and is lost: ${key}`),
    ...confirmed.map((key) => `a node has a key that no entry names: ${key}`),
  ];
}

/** `NODE KEY` of each entry that gives a node a key. */
async function keysInAuditLog({ network }: SoakEnvironment): Promise<ReadonlySet<string>> {
  const lines = await network.run('auth-server', ['audit', 'export', ...network.location()]);
  const entries = lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly node?: string; readonly key?: string });
  return new Set(entries.map(({ node, key }) => `${node} ${key}`));
}

export async function chainFaults({ network }: SoakEnvironment): Promise<string[]> {
  const { code, stdout, stderr } = await network.try('auth-server', ['audit', 'verify', ...network.location()]);
  return code === 0 ? [] : [`the audit log does not hold: ${stdout}${stderr}`];
}
