import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import {
  createFile,
  exists,
  formatDuration,
  formatManifest,
  idArgument,
  integerArgument,
  openFolder,
  parseDuration,
  UsageFailure,
  withExamples,
} from '@latchkey/runtime';
import { Command, InvalidArgumentError, Option } from 'commander';
import { drawNodes, manifestOf, MAX_ORDER } from '../order.js';
import { type ControllerRecord, type Registry } from '../registry.js';
import { dataOption, printJson, withRegistry } from './with-registry.js';

const MANIFEST = 'manifest.csv';
/** Seconds: 30 days. */
const DEFAULT_LIFETIME = 2_592_000;

interface CreateOptions {
  readonly data: string;
  readonly installer: string;
  readonly controller: number;
  readonly count: number;
  readonly sharedKey?: true;
  readonly lifetime: number;
  readonly out: string;
  readonly json?: true;
}

export function orderCommand(): Command {
  return new Command('order').description('orders to installers').addCommand(createCommand());
}

function createCommand(): Command {
  const command = new Command('create')
    .description("draw IDs and initial keys, store them, and write the installer's manifest (the draft's steps 1 and 2)")
    .addOption(dataOption())
    .requiredOption('--installer <name>', 'who will install the nodes', installerArgument)
    .requiredOption('--controller <id>', 'the controller they join through', idArgument)
    .requiredOption('--count <n>', 'how many nodes', integerArgument(1, MAX_ORDER))
    .option('--shared-key', 'one initial key for all of them: whoever holds it can join as any')
    .addOption(lifetimeOption())
    .requiredOption('--out <dir>', `folder for ${MANIFEST}, which holds the initial keys`)
    .option('--json', 'tell of the order as JSON')
    .action(create);
  return withExamples(
    command,
    'latchkey-auth-server order create --data ./data --installer "Kim & Sons" --controller 00000001 --count 40 --out ./for-kim',
    'latchkey-auth-server order create --data ./data --installer Ada --controller 00000001 --count 3 --shared-key --lifetime 90d --out ./for-ada',
  );
}

async function create(options: CreateOptions): Promise<void> {
  const manifest = join(options.out, MANIFEST);
  const number = await withRegistry(options.data, async (registry) => {
    const controller = knownController(registry, options.controller);
    await openFolder(options.out);
    if (await exists(manifest))
      throw new UsageFailure(`${manifest} exists already`, { advice: 'Nothing was ordered. Choose another folder.' });
    const { count, lifetime, installer } = options;
    const sharedKey = options.sharedKey === true;
    const nodes = drawNodes({ controller, count, sharedKey, lifetime, isTaken: (idI) => registry.node(idI) !== undefined });
    await createFile(manifest, formatManifest(manifestOf(nodes, controller)));
    try {
      return await registry.addOrder(
        { installer, idC: controller.idC, count, sharedKey, lifetime, createdAt: Date.now() },
        nodes,
      );
    } catch (error) {
      await rm(manifest);
      throw error;
    }
  });
  const { installer, count, lifetime } = options;
  if (options.json === true) {
    printJson({
      order: number,
      installer,
      controller: formatId(options.controller),
      count,
      lifetime_seconds: lifetime,
      manifest,
    });
    return;
  }
  process.stdout.write(
    `Order ${number}: ${count} node${count === 1 ? '' : 's'} by ${installer}, keys last ${formatDuration(lifetime)}\n` +
      `The manifest is ${manifest}. It holds the initial keys: hand it to the installer and nobody else.\n`,
  );
}

/** The controller, or a UsageFailure that says how to add it. */
export function knownController(registry: Registry, idC: number): ControllerRecord {
  const controller = registry.controller(idC);
  if (controller !== undefined) return controller;
  throw new UsageFailure(`controller ${formatId(idC)} is not in the registry`, {
    advice: `Run: latchkey-auth-server controller add ${formatId(idC)} ...`,
  });
}

/** How long the keys of ordered nodes last, in seconds. */
export function lifetimeOption(): Option {
  return new Option('--lifetime <duration>', 'of the keys they get: 45s, 90m, 12h, 30d, 2w, or none')
    .argParser((text) => {
      const seconds = parseDuration(text);
      if (seconds === undefined)
        throw new InvalidArgumentError('expected e.g. 45s, 90m, 12h, 30d, 2w, or none; 136 years at most');
      return seconds;
    })
    .default(DEFAULT_LIFETIME, formatDuration(DEFAULT_LIFETIME));
}

function installerArgument(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('expected a name');
  return text;
}
