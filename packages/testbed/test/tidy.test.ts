// The repository keeps its own house: what is where, who imports whom, where keys leave, and that documents point at what is there.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ATTACKS } from '../../attack-lab/src/attacks.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const tracked = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
  (path) => !/(?:^|\/)(?:node_modules|dist|\.git)(?:\/|$)/.test(path),
);
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const sources = tracked.filter((path) => /^packages\/[^/]+\/src\/.*\.ts$/.test(path));
const documents = tracked.filter((path) => path.endsWith('.md'));

/** Packages a source imports, own files left out. */
function importsOf(path: string): string[] {
  return [...read(path).matchAll(/^(?:import|export)\b[^;]*?from '([^'.][^']*)'/gms)].map((match) => match[1] ?? '');
}

function packageOf(path: string): string {
  return path.split('/')[1] ?? '';
}

describe('sources', () => {
  it('have names that say what is in them', () => {
    expect(tracked.filter((path) => /(?:^|\/)(?:utils?|helpers?|types|common|misc)(?:\.ts|\/)/.test(path))).toEqual([]);
  });

  it('are short enough to be read in one sitting', () => {
    expect(sources.filter((path) => read(path).split('\n').length > 450)).toEqual([]);
  });

  it('end a process in four places: command line, at once, interruption, store watch; and one that is not their own: the hook', () => {
    const allowed = [
      'packages/runtime/src/cli.ts',
      'packages/runtime/src/exit-now.ts',
      'packages/runtime/src/interruption.ts',
      'packages/auth-server/src/store-watch.ts',
      'packages/node-agent/src/hook.ts',
    ];
    expect(sources.filter((path) => /process\.(?:exit|kill|abort)\(/.test(read(path))).toSorted()).toEqual(allowed.toSorted());
  });
});

describe('imports', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    protocol: [],
    runtime: ['protocol'],
    store: ['protocol', 'runtime'],
    'auth-server': ['protocol', 'runtime', 'store'],
    controller: ['protocol', 'runtime', 'store', 'auth-server'],
    'node-agent': ['protocol', 'runtime'],
    testbed: ['protocol', 'runtime', 'store', 'auth-server', 'node-agent'],
    simulator: ['protocol', 'runtime'],
    'attack-lab': ['protocol', 'runtime'],
    release: ['runtime', 'auth-server/program', 'controller/program', 'node-agent/program'],
    bench: ['protocol', 'runtime', 'store', 'auth-server', 'testbed', 'release/bundle', 'release/checkout', 'release/tree'],
  };

  it('go the way docs/ARCHITECTURE.md says', () => {
    const wrong = sources.flatMap((path) =>
      importsOf(path)
        .filter((name) => name.startsWith('@latchkey/') && !allowed[packageOf(path)]?.includes(name.slice('@latchkey/'.length)))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('of the protocol are @noble/ciphers and nothing else', () => {
    const names = sources.filter((path) => packageOf(path) === 'protocol').flatMap(importsOf);
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !name.startsWith('@noble/ciphers/'))).toEqual([]);
  });

  it('of the simulator are the protocol and the clocks’ rules alone, but for its command and its workers', () => {
    const shells = sources.filter((path) => packageOf(path) === 'simulator' && !/\/(?:main|farm|worker)\.ts$/.test(path));
    expect(shells.length).toBeGreaterThan(0);
    expect(new Set(shells.flatMap(importsOf))).toEqual(new Set(['@latchkey/protocol', '@latchkey/runtime']));
  });

  it('of the bench are nobody else’s', () => {
    expect(sources.filter((path) => packageOf(path) !== 'bench' && importsOf(path).includes('@latchkey/bench'))).toEqual([]);
  });

  it('of `coap` are behind the guard', () => {
    // But for the bench, which measures what it takes alone.
    const users = sources.filter(
      (path) => importsOf(path).some((name) => name.startsWith('coap')) && packageOf(path) !== 'bench',
    );
    expect(users.toSorted()).toEqual(['packages/runtime/src/coap/client.ts', 'packages/runtime/src/coap/server.ts']);
  });

  it('of age are dynamic, in one place: a daemon never loads it', () => {
    const users = sources.filter((path) => read(path).includes("'age-encryption'"));
    expect(users).toEqual(['packages/runtime/src/encrypted-manifest.ts']);
    expect(users.flatMap(importsOf)).not.toContain('age-encryption');
  });
});

it('keys leave a Secret where a reviewer expects it', () => {
  const allowed = [
    'packages/attack-lab/src/profile.ts',
    'packages/auth-server/src/commands/export.ts',
    'packages/auth-server/src/ik-identity.ts',
    'packages/node-agent/src/node-file.ts',
    'packages/protocol/src/messages.ts',
    'packages/protocol/src/nonce.ts',
    'packages/protocol/src/psk.ts',
    'packages/protocol/src/secret.ts',
    'packages/runtime/src/credential.ts',
    'packages/runtime/src/label.ts',
    'packages/runtime/src/manifest.ts',
    'packages/simulator/src/key-text.ts',
    'packages/store/src/key-wrap.ts',
    'packages/store/src/keyring.ts',
    'packages/store/src/master-key.ts',
  ];
  expect(sources.filter((path) => /\.(?:expose|toHex)\(\)/.test(read(path))).toSorted()).toEqual(allowed);
});

describe('documents', () => {
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
      named.filter((name) => !existsSync(join(root, 'packages', `${name}.test.ts`)) && !existsSync(join(root, 'packages', name))),
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
      'init run controller order import export node audit backup restore master-key install join move status key health clock'.split(
        ' ',
      ),
    );
    expect(shown.length).toBeGreaterThan(10);
    expect(shown.filter((word) => !known.has(word))).toEqual([]);
  });
});
