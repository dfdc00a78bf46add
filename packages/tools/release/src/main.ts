/** `pnpm release`: what gets installed, the same octets from every build of a commit. */

import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { main, program, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { InvalidArgumentError, Option } from 'commander';
import { bundle } from './bundle.js';
import { buildDeb, type DebArch, debVersion } from './deb.js';
import { dependencyIn, type Dependency } from './dependency.js';
import type { ReleaseParts } from './install-layout.js';
import { type Arch, collectNatives, directNatives } from './native.js';
import { notices } from './notices.js';
import { npmTree } from './npm.js';
import { type Product, PRODUCTS, ROOT } from './product.js';
import { sbom } from './sbom.js';
import { tarballTree } from './tarball.js';
import { runTool } from './run-tool.js';
import { writeTree, packTarball, type Tree } from './tree.js';

const ARCHS: Readonly<Record<DebArch, Arch>> = { amd64: 'x64', arm64: 'arm64' };
const KINDS = ['npm', 'deb', 'tar'] as const;
type Kind = (typeof KINDS)[number];
const NAMES: readonly string[] = PRODUCTS.map(({ name }) => name);

interface ReleaseOptions {
  readonly out: string;
  readonly arch: readonly DebArch[];
  readonly without: readonly Kind[];
  readonly only: readonly string[];
  readonly as?: string;
}

interface Job {
  readonly out: string;
  readonly version: string;
  readonly epoch: number;
  readonly archs: readonly DebArch[];
  readonly without: readonly Kind[];
  /** For what is only needed meanwhile. */
  readonly scratch: string;
}

async function release(options: ReleaseOptions): Promise<void> {
  // Whoever asks may have what is built.
  process.umask(0o022);
  const out = resolve(options.out);
  await mkdir(out, { recursive: true });
  if ((await readdir(out)).length > 0)
    throw new UsageFailure(`${out} is not empty`, { advice: 'Remove it, or name another folder with --out.' });
  const scratch = await mkdtemp(join(tmpdir(), 'latchkey-release-'));
  try {
    const version = options.as ?? dependencyIn(ROOT).version;
    const job: Job = { out, version, epoch: await sourceEpoch(), archs: options.arch, without: options.without, scratch };
    for (const product of PRODUCTS.filter(({ name }) => options.only.includes(name))) await releaseOne(product, job);
    await writeSums(out);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function releaseOne(product: Product, job: Job): Promise<void> {
  const { command } = product;
  const { version, epoch, archs, without, out } = job;
  const inBundle = await bundle(product);
  const direct = await directNatives(product);

  if (!without.includes('npm')) {
    const tree = npmTree(product, version, inBundle.tree, direct, notices(inBundle.dependencies));
    await pack(tree, 'package', `${command}-${version}.tgz`, job);
    await describe(`${command}-${version}.tgz`, [...inBundle.dependencies, ...direct], job);
  }
  for (const arch of without.includes('deb') ? [] : archs) {
    const { parts, all } = await partsFor(product, [ARCHS[arch]], false);
    const file = `${command}_${debVersion(version)}_${arch}.deb`;
    await buildDeb(product, arch, parts, await mkdtemp(join(job.scratch, 'deb-')), join(out, file));
    await describe(file, all, job);
  }
  if (!without.includes('tar')) {
    const { parts, all } = await partsFor(
      product,
      archs.map((arch) => ARCHS[arch]),
      true,
    );
    const name = `${command}-${version}-linux`;
    await pack(tarballTree(product, parts), name, `${name}.tar.gz`, job);
    await describe(`${name}.tar.gz`, all, job);
  }

  async function partsFor(
    of: Product,
    processors: readonly Arch[],
    musl: boolean,
  ): Promise<{ parts: ReleaseParts; all: Dependency[] }> {
    const natives = await collectNatives(of, { archs: processors, musl });
    const all = [...inBundle.dependencies, ...natives.dependencies];
    return { parts: { version, epoch, bundle: inBundle.tree, natives: natives.tree, notices: notices(all) }, all };
  }
}

async function pack(tree: Tree, name: string, file: string, { scratch, epoch, out }: Job): Promise<void> {
  const folder = await mkdtemp(join(scratch, 'tar-'));
  await writeTree(new Map([...tree].map(([path, entry]) => [`${name}/${path}`, entry])), folder);
  await packTarball(folder, name, epoch, join(out, file));
}

async function describe(file: string, dependencies: readonly Dependency[], { out, version }: Job): Promise<void> {
  await writeFile(join(out, `${file}.cdx.json`), await sbom(file, version, dependencies));
}

/** As `sha256sum --check` reads them. */
async function writeSums(out: string): Promise<void> {
  const lines: string[] = [];
  for (const file of (await readdir(out)).toSorted())
    lines.push(
      `${createHash('sha256')
        .update(await readFile(join(out, file)))
        .digest('hex')}  ${file}\n`,
    );
  await writeFile(join(out, 'SHA256SUMS'), lines.join(''));
  process.stdout.write(lines.join(''));
}

/**
 * When the commit was made, in seconds: https://reproducible-builds.org/specs/source-date-epoch/
 */
async function sourceEpoch(): Promise<number> {
  const given = process.env['SOURCE_DATE_EPOCH'];
  if (given !== undefined && /^\d+$/.test(given)) return Number(given);
  const advice = 'Outside of a git checkout set SOURCE_DATE_EPOCH, in seconds.';
  return Number(
    await runTool('git', ['log', '-1', '--format=%ct'], { purpose: 'tell when this was committed', advice, cwd: ROOT }),
  );
}

function listOf<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((word) => {
      const found = known.find((one) => one === word);
      if (found === undefined) throw new InvalidArgumentError(`expected some of ${known.join(',')}`);
      return found;
    });
}

const command = program(
  'release',
  'Builds what gets installed: npm packages, Debian packages, tarballs, with their SBOMs and checksums',
  new URL('../package.json', import.meta.url),
)
  .option('--out <dir>', 'an empty folder, or a new one', join(ROOT, 'release'))
  .addOption(
    new Option('--arch <list>', 'processors, as Debian calls them; npm fetches what is built for another than this machine’s')
      .default(['amd64', 'arm64'], 'amd64,arm64')
      .argParser(listOf(['amd64', 'arm64'])),
  )
  .addOption(new Option('--without <list>', 'leave out some of npm,deb,tar').default([], 'none').argParser(listOf(KINDS)))
  .addOption(
    new Option('--only <list>', 'some of auth-server,controller,node-agent').default(NAMES, 'all').argParser(listOf(NAMES)),
  )
  .option('--as <version>', 'another version than that of package.json')
  .action(release);

await main(withExamples(command, 'pnpm release', 'pnpm release --out /tmp/release --arch amd64 --without tar'));
