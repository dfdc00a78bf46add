// The repository keeps its own house: what is where, who imports whom, where keys leave, and that documents point at what is there.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

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

  it('end a process in three places: lifecycle, command line, store watch', () => {
    const allowed = [
      'packages/runtime/src/lifecycle.ts',
      'packages/runtime/src/cli.ts',
      'packages/auth-server/src/store-watch.ts',
    ];
    expect(sources.filter((path) => /process\.(?:exit|kill|abort)\(/.test(read(path))).toSorted()).toEqual(allowed.toSorted());
  });
});

describe('imports', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    protocol: [],
    runtime: ['protocol'],
    'auth-server': ['protocol', 'runtime'],
    controller: ['protocol', 'runtime', 'auth-server'],
    'node-agent': ['protocol', 'runtime'],
    testbed: ['protocol', 'runtime', 'auth-server'],
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

  it('of `coap` are behind the guard', () => {
    const users = sources.filter((path) => importsOf(path).some((name) => name.startsWith('coap')));
    expect(users.toSorted()).toEqual(['packages/runtime/src/coap/client.ts', 'packages/runtime/src/coap/server.ts']);
  });
});

it('keys leave a Secret where a reviewer expects it', () => {
  const allowed = [
    'packages/auth-server/src/registry.ts',
    'packages/controller/src/psk-store.ts',
    'packages/node-agent/src/node-file.ts',
    'packages/protocol/src/messages.ts',
    'packages/protocol/src/psk.ts',
    'packages/protocol/src/secret.ts',
    'packages/runtime/src/credential.ts',
    'packages/runtime/src/manifest.ts',
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
    const named = [...read('docs/SECURITY.md').matchAll(/`([a-z-]+\/test\/[a-z-]+)`/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(10);
    expect(
      named.filter((name) => !existsSync(join(root, 'packages', `${name}.test.ts`)) && !existsSync(join(root, 'packages', name))),
    ).toEqual([]);
  });

  it('show commands and options that exist', () => {
    const text = documents.map(read).join('\n');
    const shown = [...text.matchAll(/latchkey-(?:auth-server|controller|node-agent) ([a-z-]+)/g)].map((match) => match[1] ?? '');
    const known = new Set(['init', 'run', 'controller', 'order', 'import', 'node', 'install', 'join', 'status', 'key']);
    expect(shown.length).toBeGreaterThan(10);
    expect(shown.filter((word) => !known.has(word))).toEqual([]);
  });
});
