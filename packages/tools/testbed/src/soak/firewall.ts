/**
 * Rules of nftables: those of `packaging/nftables`, as they stand, for a controller on another port
 * than theirs; and one that cuts off a port.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const RULES = new URL('../../../../../packaging/nftables/latchkey-controller.nft', import.meta.url);
const PORT = 'define port = 5683';
const TABLE = 'latchkey-controller';

export class Firewall {
  static readonly AVAILABLE: boolean = process.getuid?.() === 0 && spawnSync('nft', ['list', 'ruleset']).status === 0;

  /**
   * Its own, so that it neither takes the place of rules that are in force here nor takes them
   * away.
   */
  readonly #table: string;

  private constructor(table: string) {
    this.#table = table;
  }

  static install(port: number): Firewall {
    const table = `latchkey-soak-${port}`;
    const rules = readFileSync(RULES, 'utf8');
    if (!rules.includes(PORT)) throw new Error(`the rules do not say "${PORT}"`);
    nft(['-f', '-'], rules.replace(PORT, `define port = ${port}`).replaceAll(`inet ${TABLE}`, `inet ${table}`));
    return new Firewall(table);
  }

  /** Datagrams so far. */
  get dropped(): number {
    const counts = nft(['list', 'table', 'inet', this.#table]).matchAll(/counter packets (\d+)/g);
    return [...counts].reduce((sum, [, packets]) => sum + Number(packets), 0);
  }

  remove(): void {
    nft(['delete', 'table', 'inet', this.#table]);
  }
}

/** A TCP port of this machine that nobody reaches any more, as if its machine was cut off. */
export class CutOff {
  readonly #table: string;

  private constructor(table: string) {
    this.#table = table;
  }

  static install(port: number): CutOff {
    const table = `latchkey-cut-off-${port}`;
    const rules = ['type filter hook input priority 0', `tcp dport ${port} drop`, `tcp sport ${port} drop`];
    nft(['-f', '-'], `table inet ${table} {\n chain input {\n${rules.join('\n')}\n}\n}\n`);
    return new CutOff(table);
  }

  remove(): void {
    nft(['delete', 'table', 'inet', this.#table]);
  }
}

function nft(args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync('nft', args, { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`nft: ${stderr}`);
  return stdout;
}
