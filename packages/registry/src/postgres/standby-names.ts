/** What `synchronous_standby_names` promises. */

/**
 * Explains why a commit under these names may be lost with one machine. Returns `undefined` if it
 * cannot. A standby that a majority promotes has every commit that k+1 machines have, if 2(k+1) is
 * more than all of them.
 *
 * @param machines number of machines in the configuration
 */
export function standbyNamesFault(names: string, machines: number): string | undefined {
  const text = names.trim();
  if (text === '') {
    return 'synchronous_standby_names is empty: a commit is acknowledged that no standby has, and is lost with this machine';
  }
  const match = /^(?:(?:any|first)\s+)?(?<count>\d+)\s*\((?<list>.*)\)$/is.exec(text);
  const list = split(match?.groups?.['list'] ?? text);
  const count = Number(match?.groups?.['count'] ?? 1);
  if (list.includes('*')) {
    return `synchronous_standby_names is ${text}: any program that receives the log would count as a standby`;
  }
  const all = Math.max(machines, list.length + 1);
  if (2 * (count + 1) > all) return undefined;
  return `synchronous_standby_names is ${text}: of ${all} machines ${count + 1} have a commit, and two halves of them could both go on`;
}

function split(list: string): string[] {
  return [...list.matchAll(/"((?:[^"]|"")*)"|([^\s,"]+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}
