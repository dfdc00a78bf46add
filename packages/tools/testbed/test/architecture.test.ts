// The repository keeps its own house: what is where, who imports whom, where keys leave, and that
// documents point at what is there.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ATTACKS } from '../../attack-lab/src/attacks.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const tracked = filesIn('');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const all = tracked.filter((path) => /^packages\/(?:tools\/)?[^/]+\/src\/.*\.tsx?$/.test(path));
/** Without what tests share: it ends processes and looks at keys as tests do. */
const sources = all.filter((path) => packageOf(path) !== 'tools/test-support');
const COMMENT = /^\s*(?:\/\/|\/?\*)/;
const documents = tracked.filter((path) => path.endsWith('.md'));

/**
 * Paths below a folder of the project, without what is installed or built. Links to packages lead
 * round in circles.
 */
function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) return [path];
    return ['node_modules', 'dist', '.git'].includes(entry.name) ? [] : filesIn(path);
  });
}

/** Packages a source imports, own files left out. */
function importsOf(path: string): string[] {
  return [...read(path).matchAll(/^(?:import|export)\b[^;]*?from '([^'.][^']*)'/gms)].map((match) => match[1] ?? '');
}

/** Lines of prose that are too long. Code, and a word that cannot be broken, may be longer. */
function longLines(path: string, isProse: (line: string) => boolean): string[] {
  let inCode = false;
  return read(path)
    .split('\n')
    .flatMap((line, index) => {
      if (line.trimStart().startsWith('```')) inCode = !inCode;
      const isBreakable = line
        .trim()
        .replaceAll(/`[^`]*`/g, '_')
        .includes(' ');
      const isColumns = /^(?:\s*\*)? {4,}|\S {2,}\S/.test(line);
      return line.length > 100 && !inCode && !isColumns && isBreakable && isProse(line) ? [`${path}:${index + 1}`] : [];
    });
}

function packageOf(path: string): string {
  return /^packages\/((?:tools\/)?[^/]+)\//.exec(path)?.[1] ?? '';
}

describe('sources', () => {
  it('have names that say what is in them', () => {
    expect(tracked.filter((path) => /(?:^|\/)(?:utils?|helpers?|types|common|misc)(?:\.ts|\/)/.test(path))).toEqual([]);
  });

  it('are short enough to be read in one sitting', () => {
    const lines = (path: string): string[] => read(path).split('\n');
    expect(sources.filter((path) => lines(path).filter((line) => !COMMENT.test(line)).length > 450)).toEqual([]);
  });

  it('have comments of 100 columns at most', () => {
    const code = tracked.filter((path) => /\.tsx?$/.test(path));
    expect(code.flatMap((path) => longLines(path, (line) => COMMENT.test(line)))).toEqual([]);
  });

  it('end a process in four places: command line, at once, interruption, store watch; and signal four that are not their own: the hook, a target’s program, the agent, a database under test', () => {
    const allowed = [
      'packages/runtime/src/cli/cli.ts',
      'packages/runtime/src/daemon/exit-now.ts',
      'packages/runtime/src/files/signal-cleanup.ts',
      'packages/auth-server/src/server/store-watchdog.ts',
      'packages/node-agent/src/hook.ts',
      'packages/node-agent/src/join-now.ts',
      'packages/key-delivery/src/targets/command.ts',
      'packages/tools/testbed/src/postgres-server.ts',
    ];
    expect(sources.filter((path) => /process\.(?:exit|kill|abort)\(/.test(read(path))).toSorted()).toEqual(allowed.toSorted());
  });
});

describe('imports', () => {
  const section = /^## The packages\n(.*?)^## /ms.exec(read('docs/ARCHITECTURE.md'))?.[1] ?? '';
  const rows = [...section.matchAll(/^\| `([a-z/-]+)` \|.*\| ([^|]+) \|$/gm)];
  const allowed = new Map(rows.map(([, name = '', list = '']) => [name, list === 'none' ? [] : list.split(', ')]));

  it('have a row in docs/ARCHITECTURE.md for each package', () => {
    expect([...allowed.keys()].toSorted()).toEqual([...new Set(all.map(packageOf))].toSorted());
  });

  it('go the way docs/ARCHITECTURE.md says', () => {
    const folders = new Map([...allowed.keys()].map((name) => [name.replace('tools/', ''), name]));
    const wrong = all.flatMap((path) =>
      importsOf(path)
        .filter((name) => name.startsWith('@latchkey/'))
        .filter((name) => {
          const [, folder = '', rest = ''] = /^@latchkey\/([^/]+)(.*)$/.exec(name) ?? [];
          const packageName = folders.get(folder) ?? folder;
          const list = allowed.get(packageOf(path)) ?? [];
          return !list.includes(packageName) && !list.includes(`${packageName}${rest}`);
        })
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('go round in no circle', () => {
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (name: string, path: readonly string[]): void => {
      if (path.includes(name)) circles.push([...path, name].join(' -> '));
      if (done.has(name) || path.includes(name)) return;
      for (const imported of allowed.get(name) ?? []) visit(imported.replace(/\/program$/, ''), [...path, name]);
      done.add(name);
    };
    for (const name of allowed.keys()) visit(name, []);
    expect(circles).toEqual([]);
  });

  it('of the protocol are @noble/ciphers and nothing else', () => {
    const names = sources.filter((path) => packageOf(path) === 'protocol').flatMap(importsOf);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !name.startsWith('@noble/ciphers/'))).toEqual([]);
  });

  it('of the simulator are no sockets, files or timers, but for its command and its workers', () => {
    const shells = sources.filter(
      (path) => packageOf(path) === 'tools/simulator' && !/\/(?:main|worker-pool|worker)\.ts$/.test(path),
    );
    expect(shells.length).toBeGreaterThan(0);
    expect(new Set(shells.flatMap(importsOf))).toEqual(
      new Set([
        '@latchkey/auth-server',
        '@latchkey/controller/auth-server-client',
        '@latchkey/controller/controller',
        '@latchkey/controller/key-feed',
        '@latchkey/controller/tid-allocator',
        '@latchkey/key-delivery/node-key-changes',
        '@latchkey/keyring',
        '@latchkey/node-agent/join-attempt',
        '@latchkey/node-agent/metrics',
        '@latchkey/node-agent/node-file',
        '@latchkey/operations',
        '@latchkey/protocol',
        '@latchkey/registry',
        '@latchkey/registry/memory',
        '@latchkey/registry/postgres/simulation',
        '@latchkey/runtime/daemon',
        '@latchkey/runtime/failure',
        '@latchkey/test-support/seeded-random',
      ]),
    );
  });

  it('of the bench are nobody else’s', () => {
    expect(sources.filter((path) => packageOf(path) !== 'tools/bench' && importsOf(path).includes('@latchkey/bench'))).toEqual(
      [],
    );
  });

  it('of `coap` are behind the guard', () => {
    // But for the bench, which measures what it takes alone.
    const users = sources.filter(
      (path) => importsOf(path).some((name) => name.startsWith('coap')) && packageOf(path) !== 'tools/bench',
    );
    expect(users.toSorted()).toEqual(['client', 'packet', 'server'].map((name) => `packages/coap/src/${name}.ts`));
  });

  it('of age are dynamic, in two places: no daemon and no first page loads it', () => {
    const users = sources.filter((path) => read(path).includes("'age-encryption'"));
    expect(users).toEqual(['packages/console/src/age-file.ts', 'packages/provisioning/src/encrypted-manifest.ts']);
    expect(users.flatMap(importsOf)).not.toContain('age-encryption');
  });
});

it('keys leave a Secret where a reviewer expects it', () => {
  const allowed = [
    'packages/api/src/resources/node-exports.ts',
    'packages/auth-server/src/commands/export.ts',
    'packages/keyring/src/key-wrap.ts',
    'packages/keyring/src/keyring.ts',
    'packages/keyring/src/master-key.ts',
    'packages/node-agent/src/device-key.ts',
    'packages/node-agent/src/node-file.ts',
    'packages/operations/src/import/import-partitions.ts',
    'packages/operations/src/order-creation.ts',
    'packages/protocol/src/initial-key.ts',
    'packages/protocol/src/key-feed-messages.ts',
    'packages/protocol/src/messages.ts',
    'packages/protocol/src/nonce.ts',
    'packages/protocol/src/psk.ts',
    'packages/protocol/src/secret.ts',
    'packages/provisioning/src/credential.ts',
    'packages/provisioning/src/label.ts',
    'packages/provisioning/src/manifest.ts',
    'packages/registry/src/initial-key-id.ts',
    'packages/tools/attack-lab/src/attacks/initial-key.ts',
    'packages/tools/attack-lab/src/profile.ts',
    'packages/tools/simulator/src/dishonest-controller.ts',
    'packages/tools/simulator/src/key-text.ts',
    'packages/tools/simulator/src/mutants/pass-through-mutants.ts',
    'packages/tools/testbed/src/soak/core-dump.ts',
  ];
  expect(sources.filter((path) => /\.(?:expose|toHex)\(\)/.test(read(path))).toSorted()).toEqual(allowed);
});

describe('documents', () => {
  it('have lines of 100 columns at most, but for tables', () => {
    expect(documents.flatMap((path) => longLines(path, (line) => !line.trimStart().startsWith('|')))).toEqual([]);
  });

  it('link to what is there', () => {
    const broken = documents.flatMap((path) =>
      [...read(path).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map((match) => match[1] ?? '')
        .filter((target) => !existsSync(join(root, dirname(path), target)))
        .map((target) => `${path} -> ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('name tests that exist for what is promised', () => {
    const named = [...read('docs/SECURITY.md').matchAll(/`([a-z-]+\/(?:test|deployment)\/[a-z-]+)`/g)].map(
      (match) => match[1] ?? '',
    );
    expect(named.length).toBeGreaterThan(10);
    expect(
      named.filter((name) =>
        ['packages', 'packages/tools'].every(
          (folder) => !existsSync(join(root, folder, `${name}.test.ts`)) && !existsSync(join(root, folder, name)),
        ),
      ),
    ).toEqual([]);
  });

  it('have a row for each attack that is played, with a test', () => {
    const section = /^## Attacks by name\n(.*?)^## /ms.exec(read('docs/SECURITY.md'))?.[1] ?? '';
    const rows = section.split('\n').filter((line) => line.startsWith('| '));
    const cells = rows.slice(1).map((row) => row.split(' | '));
    expect(cells.map(([attack]) => attack?.slice(2))).toEqual(ATTACKS.map(({ name }) => name));
    expect(cells.filter((row) => row.length !== 4 || !/^`[a-z-]+\/test\/[a-z-]+`/.test(row[3] ?? ''))).toEqual([]);
  });

  it('show commands and options that exist', () => {
    const text = documents.map(read).join('\n');
    const shown = [...text.matchAll(/latchkey-(?:auth-server|controller|node-agent) ([a-z-]+)/g)].map((match) => match[1] ?? '');
    const known = new Set(
      'init run api api-gateway webhooks login context token user deliver sync controller order installer job import export node audit backup restore master-key provision install join move status key health clock'.split(
        ' ',
      ),
    );
    expect(shown.length).toBeGreaterThan(10);
    expect(shown.filter((word) => !known.has(word))).toEqual([]);
  });
});
