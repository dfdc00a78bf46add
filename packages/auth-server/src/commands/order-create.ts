import { formatId } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { formatDuration } from '@latchkey/runtime/config';
import { idArgument, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command, InvalidArgumentError } from 'commander';
import { type KeyOutput, ManifestNotWritten, ordersCreate } from '@latchkey/operations';
import {
  type ControllerShareInput,
  controllerSharesSchema,
  type CreatedOrder,
  MAX_ORDER_NODES,
  type OrderCreateInput,
} from '@latchkey/operations/contract';
import { ManifestOutput, type ManifestOutputOptions, manifestOutputOptions, manifestOutputWords } from './manifest-output.js';
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
  type OrderTextOptions,
  orderTextOptions,
  rejectBothFromStandardInput,
  windowInput,
} from './order-options.js';
import { pluralize, printJson, operationOptions, type RegistryOptions } from './registry-command.js';
import { call, deviceKeysReader, withOperations } from './operation-call.js';
import { yieldsToDaemons } from './priority.js';
import { withStoredRecipients } from './stored-recipients.js';

interface CreateOptions extends RegistryOptions, ManifestOutputOptions, JoinWindow, DeviceKeyOptions, OrderTextOptions {
  readonly installer: string;
  /** One, or several with a count each. */
  readonly controller: string | readonly ControllerShareInput[];
  readonly count?: number;
  readonly sharedKey?: true;
  readonly lifetime: number;
  readonly grace: number;
  readonly json?: true;
}

export function createCommand(): Command {
  const command = operationOptions(
    new Command('create').description(
      "generate IDs and initial keys, store them, and write the installer's manifest (the draft's steps 1 and 2)",
    ),
  )
    .requiredOption('--installer <name>', 'who will install the nodes', installerArgument)
    .requiredOption(
      '--controller <id>',
      'the controller they join through; several with a count each as ID=N,ID=N, without --count',
      controllersArgument,
    )
    .option('--count <n>', 'how many nodes; with --device-keys, as many as there are keys', integerArgument(1, MAX_ORDER_NODES))
    .option(
      '--shared-key',
      "one initial key for all of them: whoever holds it can join as any; with --device-keys, one installer's half",
    )
    .addOption(lifetimeOption())
    .addOption(graceOption());
  deviceKeyOptions(command, "the IDs are the manufacturer's, and the manifest has the installer's half of each initial key");
  manifestOutputOptions(joinWindowOptions(orderTextOptions(command)))
    .option('--json', 'print the order as JSON')
    .action(create);
  return withExamples(
    yieldsToDaemons(command),
    'latchkey-auth-server order create --data ./data --installer "Kim & Sons" --controller 00000001 --count 40 --out ./for-kim',
    'latchkey-auth-server order create --data ./data --installer Ada --controller 00000001 --count 3 --shared-key --lifetime 90d --out ./for-ada',
    'latchkey-auth-server order create --data ./data --installer Kim --controller 00000001 --device-keys devices.csv --manufacturer ACME --out ./for-kim',
    'latchkey-auth-server order create --data ./data --installer Bo --controller 00000001 --count 9 --join-until 2026-12-24 --recipient age1... --out ./for-bo',
    'latchkey-auth-server order create --data ./data --installer Bo --controller 00000001 --count 9 --to-installer Bo --out ./for-bo',
    'latchkey-auth-server order create --server unix:/run/latchkey/auth-server-api/api.sock --installer Bo --controller 00000001 --count 9 --out ./for-bo',
    'latchkey-auth-server order create --data ./data --installer Kim --controller 00000001=400,00000002=600 --out ./for-kim',
  );
}

function controllersArgument(text: string): CreateOptions['controller'] {
  if (!text.includes('=')) return formatId(idArgument(text));
  const shares = text.split(',').map((part) => {
    const [id = '', count = '', ...more] = part.split('=');
    if (more.length > 0) throw new InvalidArgumentError('expected ID=N,ID=N, e.g. 00000001=400,00000002=600');
    return { controller: formatId(idArgument(id)), count: integerArgument(1, MAX_ORDER_NODES)(count) };
  });
  const parsed = controllerSharesSchema.safeParse(shares);
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? 'expected ID=N,ID=N');
}

/** The controllers as the operation takes them. */
function controllersInput({ controller, count }: CreateOptions): Pick<OrderCreateInput, 'controller' | 'controllers' | 'count'> {
  if (typeof controller === 'string') return { controller, count };
  if (count !== undefined)
    throw new UsageFailure('--count is of one controller, and --controller has a count for each', {
      advice: 'Nothing was changed. Leave out --count.',
    });
  return { controllers: controller };
}

/** How many join through which controller, if through several. */
function describeShares({ controllers }: CreatedOrder): string {
  if (controllers.length < 2) return '';
  const parts = controllers.map(({ controller, count }) => `${count} through ${controller}`);
  return `${parts.join(', ')}; the manifest has them by controller\n`;
}

async function create(options: CreateOptions): Promise<void> {
  const { installer, contact, site, lifetime, grace, deviceKeys } = options;
  const controllers = controllersInput(options);
  const manufacturer = manufacturerFrom(options);
  checkWindow(options);
  rejectBothFromStandardInput(deviceKeys, options.passphraseFile);
  let output: ManifestOutput | undefined;
  let readers: ManifestOutputOptions = options;
  const openOutput = async (): Promise<KeyOutput> => (output = await ManifestOutput.prepare(readers));
  const created = await withOperations(options, async (context) => {
    readers = await withStoredRecipients(context, options);
    const readDeviceKeys = deviceKeysReader(context, deviceKeys);
    return call(
      ordersCreate,
      { ...context, openOutput, readDeviceKeys },
      {
        installer,
        contact,
        site,
        ...controllers,
        shared_key: options.sharedKey === true,
        manufacturer,
        lifetime_seconds: lifetime,
        grace_seconds: grace,
        ...windowInput(options),
      },
    );
  }).catch((error: unknown) => {
    throw error instanceof ManifestNotWritten ? toWriteAgain(error, readers) : error;
  });
  if (options.json === true) return printJson({ ...created, manifest: output?.path });
  const window = describeWindow(options);
  const joins = window === '' ? '' : `They may join${window}\n`;
  process.stdout.write(
    `Order ${created.order}: ${pluralize(created.count, 'node')} by ${installer}, keys last ${formatDuration(lifetime)}\n${describeShares(created)}${joins}${output?.advice}\n${created.split ? INSTALLER_HALVES : ''}`,
  );
}

/** The order is there, and the last step of its manifest failed. */
export function toWriteAgain({ order, message, cause }: ManifestNotWritten, options: ManifestOutputOptions): Failure {
  return new Failure(message, {
    advice: `Order ${order} is in the registry. Write its manifest again:`,
    run: [['latchkey-auth-server', 'order', 'export', String(order), ...manifestOutputWords(options)]],
    cause,
  });
}
