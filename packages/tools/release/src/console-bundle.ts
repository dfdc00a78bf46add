/**
 * The browser console as files: a page, and what it loads under names that have a hash of their
 * content, so that a browser may keep them for ever.
 */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

interface ConsoleBundle {
  /** Text by path below the folder that is served. */
  readonly files: ReadonlyMap<string, string>;
  /** Paths of the modules in it. */
  readonly moduleIds: readonly string[];
}

const CONSOLE = fileURLToPath(new URL('../../../console', import.meta.url));
const HASH_LENGTH = 10;

export async function bundleConsole(): Promise<ConsoleBundle> {
  const read = (name: string): Promise<string> => readFile(join(CONSOLE, 'src', name), 'utf8');
  const icon = await read('icon.svg');
  const iconPath = hashedPath('icon.svg', icon);
  const replaceIcon = (text: string): string => text.replaceAll('/assets/icon.svg', `/${iconPath}`);
  const styles = replaceIcon(await read('styles.css'));
  const { code, moduleIds } = await bundleScript();
  const script = replaceIcon(code);
  const [stylesPath, scriptPath] = [hashedPath('styles.css', styles), hashedPath('main.js', script)];
  const page = replaceIcon(await read('index.html'))
    .replace('/assets/styles.css', `/${stylesPath}`)
    .replace('/assets/main.js', `/${scriptPath}`);
  const files = new Map([
    ['index.html', page],
    [iconPath, icon],
    [stylesPath, styles],
    [scriptPath, script],
  ]);
  return { files, moduleIds };
}

/** As modules for browsers of the last two years: nothing is written for older ones. */
async function bundleScript(): Promise<{ readonly code: string; readonly moduleIds: readonly string[] }> {
  const build = await rolldown({
    input: join(CONSOLE, 'src/main.tsx'),
    platform: 'browser',
    transform: { target: 'es2023', jsx: { runtime: 'automatic', importSource: 'preact' } },
    resolve: { extensionAlias: { '.js': ['.ts', '.tsx', '.js'] } },
    logLevel: 'silent',
  });
  try {
    const { output } = await build.generate({ format: 'esm', minify: true, comments: false });
    const [script, ...more] = output;
    if (more.length > 0) throw new Error(`expected one file, got also ${more.map(({ fileName }) => fileName).join(', ')}`);
    return { code: script.code, moduleIds: script.moduleIds };
  } finally {
    await build.close();
  }
}

function hashedPath(name: string, content: string): string {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, HASH_LENGTH);
  return `assets/${name.replace('.', `-${hash}.`)}`;
}
