import { formatId } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { formatDuration } from '@latchkey/runtime/config';
import { idArgument, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import {
  type NodeBatch,
  DeviceKeys,
  enrol,
  generateNodes,
  generateSplitNodes,
  manifestOf,
  MAX_ORDER_NODES,
} from '@latchkey/operations';
import { isoTime } from '@latchkey/runtime/iso-time';
import { ManifestOutput, type ManifestOutputOptions, manifestOutputOptions } from './manifest-output.js';
import { withProgress } from './progress.js';
import type { Registry } from '@latchkey/registry';
import { requireController } from './controller.js';
import {
  checkWindow,
  describeWindow,
  type DeviceKeyOptions,
  deviceKeyOptions,
  graceOption,
  INSTALLER_HALVES,
  installerArgument,
  type JoinWindow,
  joinWindowOptions,
  lifetimeOption,
  manufacturerFrom,
  rejectBothFromStandardInput,
  storedWindow,
} from './order-options.js';
import { pluralize, printJson, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

interface CreateOptions extends RegistryOptions, ManifestOutputOptions, JoinWindow, DeviceKeyOptions {
  readonly installer: string;
  readonly controller: number;
  readonly count?: number;
  readonly sharedKey?: true;
  readonly lifetime: number;
  readonly grace: number;
  readonly json?: true;
}

export function createCommand(): Command {
  const command = registryOptions(
    new Command('create').description(
      "draw IDs and initial keys, store them, and write the installer's manifest (the draft's steps 1 and 2)",
    ),
  )
    .requiredOption('--installer <name>', 'who will install the nodes', installerArgument)
    .requiredOption('--controller <id>', 'the controller they join through', idArgument)
    .option('--count <n>', 'how many nodes; with --device-keys, as many as there are keys', integerArgument(1, MAX_ORDER_NODES))
    .option(
      '--shared-key',
      "one initial key for all of them: whoever holds it can join as any; with --device-keys, one installer's half",
    )
    .addOption(lifetimeOption())
    .addOption(graceOption());
  deviceKeyOptions(command, "the IDs are the manufacturer's, and the manifest has the installer's half of each initial key");
  manifestOutputOptions(joinWindowOptions(command)).option('--json', 'tell of the order as JSON').action(create);
  return withExamples(
    command,
    'latchkey-auth-server order create --data ./data --installer "Kim & Sons" --controller 00000001 --count 40 --out ./for-kim',
    'latchkey-auth-server order create --data ./data --installer Ada --controller 00000001 --count 3 --shared-key --lifetime 90d --out ./for-ada',
    'latchkey-auth-server order create --data ./data --installer Kim --controller 00000001 --device-keys devices.csv --manufacturer ACME --out ./for-kim',
    'latchkey-auth-server order create --data ./data --installer Bo --controller 00000001 --count 9 --join-until 2026-12-24 --recipient age1... --out ./for-bo',
  );
}

async function create(options: CreateOptions): Promise<void> {
  const { controller: idC, installer, lifetime, grace } = options;
  const manufacturer = manufacturerFrom(options);
  const sharedKey = options.sharedKey === true;
  checkWindow(options);
  rejectBothFromStandardInput(options.deviceKeys, options.passphraseFile);
  const [number, count, output] = await withRegistry(options, async (registry) => {
    const controller = requireController(registry, idC);
    const handover = await ManifestOutput.prepare(options);
    const batch = await drawNodes(registry, options);
    const count = batch.length;
    let number: number | undefined;
    try {
      const split = manufacturer === undefined ? {} : { manufacturer };
      const terms = { kind: 'order', installer, idC, sharedKey, ...split, lifetime, grace, ...storedWindow(options) } as const;
      await handover.write(manifestOf(batch, controller), async () => {
        number = await withProgress('storing', count, (progress) =>
          enrol(registry, { terms, batch, controllers: [idC], progress }),
        );
      });
      return [number, count, handover] as const;
    } catch (error) {
      throw number === undefined ? error : manifestNotWritten(number, options.out, error);
    } finally {
      batch.wipe();
    }
  });
  if (options.json === true) {
    const { path: manifest } = output;
    const { joinFrom, joinUntil } = storedWindow(options);
    return printJson({
      order: number,
      installer,
      controller: formatId(idC),
      count,
      split: manufacturer !== undefined,
      manufacturer: manufacturer ?? null,
      lifetime_seconds: lifetime,
      grace_seconds: grace,
      join_from: joinFrom === undefined ? null : isoTime(joinFrom),
      join_until: joinUntil === undefined ? null : isoTime(joinUntil),
      manifest,
    });
  }
  const window = describeWindow(options);
  const joins = window === '' ? '' : `They may join${window}\n`;
  process.stdout.write(
    `Order ${number}: ${pluralize(count, 'node')} by ${installer}, keys last ${formatDuration(lifetime)}\n${joins}${output.advice}\n${manufacturer === undefined ? '' : INSTALLER_HALVES}`,
  );
}

/** IDs and keys of the order: drawn, or the manufacturer's IDs and keys made of both halves. */
async function drawNodes(
  registry: Registry,
  { controller: idC, count, sharedKey, deviceKeys: path }: CreateOptions,
): Promise<NodeBatch> {
  if (path === undefined) {
    if (count !== undefined)
      return generateNodes({ idC, count, sharedKey: sharedKey === true, isTaken: (idI) => registry.isIdTaken(idI) });
    throw new UsageFailure('--count is missing', {
      advice: 'Nothing was changed. Say how many nodes with --count, or name the file of their device keys with --device-keys.',
    });
  }
  const deviceKeys = await DeviceKeys.read(registry, path);
  try {
    const { length } = deviceKeys;
    if (length > MAX_ORDER_NODES || (count !== undefined && count !== length)) {
      const expected = count ?? `${MAX_ORDER_NODES} at most`;
      throw new UsageFailure(`${deviceKeys.name} has ${pluralize(length, 'device key')}, and the order ${expected}`, {
        advice: 'Nothing was changed. Leave out --count, or take the lines of this order only.',
      });
    }
    deviceKeys.rejectTaken((idI) => registry.isIdTaken(idI));
    return generateSplitNodes(idC, deviceKeys, sharedKey === true);
  } finally {
    deviceKeys.wipe();
  }
}

/** The order is there, and the last step of its manifest failed. */
function manifestNotWritten(number: number, out: string, error: unknown): Failure {
  return new Failure(error instanceof Error ? error.message : String(error), {
    advice: `Order ${number} is in the registry. Write its manifest again:`,
    run: [['latchkey-auth-server', 'order', 'export', String(number), '--out', out]],
    cause: error,
  });
}
