/**
 * The browser console as files: a page, and what it loads under names that have a hash of their
 * content, so that a browser may keep them for ever.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type OutputChunk, rolldown } from 'rolldown';

interface ConsoleBundle {
  /** Text by path below the folder that is served. */
  readonly files: ReadonlyMap<string, string>;
  /** Paths of those that the first page loads. Others are loaded when they are needed. */
  readonly firstPage: readonly string[];
  readonly firstPageModuleIds: readonly string[];
  /** Paths of the modules in it. */
  readonly moduleIds: readonly string[];
}

const CONSOLE = fileURLToPath(new URL('../../../console', import.meta.url));
const HASH_LENGTH = 10;
/** Of age-encryption: for files that no page reads. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  '@noble/post-quantum/hybrid.js',
  '@noble/curves/ed25519.js',
  '@noble/hashes/scrypt.js',
]);
const ICON = '/assets/icon.svg';

export async function bundleConsole(): Promise<ConsoleBundle> {
  const read = (name: string): Promise<string> => readFile(join(CONSOLE, 'src', name), 'utf8');
  const icon = await read('icon.svg');
  const iconPath = hashedPath('icon.svg', icon);
  const replaceIcon = (text: string): string => text.replaceAll(ICON, `/${iconPath}`);
  const styles = replaceIcon(await read('styles.css'));
  const stylesPath = hashedPath('styles.css', styles);
  const chunks = await bundleScript(replaceIcon);
  const [main] = chunks;
  const page = replaceIcon(await read('index.html'))
    .replace('/assets/styles.css', `/${stylesPath}`)
    .replace('/assets/main.js', `/${main.fileName}`);
  const files = new Map([
    ['index.html', page],
    [iconPath, icon],
    [stylesPath, styles],
    ...chunks.map(({ fileName, code }) => [fileName, code] as const),
  ]);
  const firstPage = ['index.html', iconPath, stylesPath, main.fileName, ...main.imports];
  const modulesOf = (some: readonly OutputChunk[]): readonly string[] => some.flatMap(({ moduleIds }) => moduleIds);
  const firstPageModuleIds = modulesOf(chunks.filter(({ fileName }) => firstPage.includes(fileName)));
  return { files, firstPage, firstPageModuleIds, moduleIds: modulesOf(chunks) };
}

/**
 * As modules for browsers of the last two years: nothing is written for older ones. The first one
 * is the page's; what it imports dynamically is in others.
 */
async function bundleScript(replaceIcon: (text: string) => string): Promise<readonly [OutputChunk, ...OutputChunk[]]> {
  const build = await rolldown({
    input: join(CONSOLE, 'src/main.tsx'),
    platform: 'browser',
    transform: { target: 'es2023', jsx: { runtime: 'automatic', importSource: 'preact' } },
    resolve: {
      extensionAlias: { '.js': ['.ts', '.tsx', '.js'] },
      conditionNames: ['@latchkey/source', 'browser', 'import', 'default'],
    },
    plugins: [
      // Before names are made of the content.
      { name: 'icon', transform: (code) => (code.includes(ICON) ? replaceIcon(code) : undefined) },
      {
        name: 'without unused parts of age',
        resolveId: (id) => (LEFT_OUT.has(id) ? join(CONSOLE, 'src/left-out-of-age.ts') : undefined),
      },
    ],
    logLevel: 'silent',
  });
  try {
    const names = `assets/[name]-[hash:${HASH_LENGTH}].js`;
    const { output } = await build.generate({
      format: 'esm',
      minify: true,
      comments: false,
      hashCharacters: 'hex',
      entryFileNames: names,
      chunkFileNames: names,
    });
    const [main, ...others] = output;
    return [main, ...others.filter((file) => file.type === 'chunk')];
  } finally {
    await build.close();
  }
}

function hashedPath(name: string, content: string): string {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, HASH_LENGTH);
  return `assets/${name.replace('.', `-${hash}.`)}`;
}
