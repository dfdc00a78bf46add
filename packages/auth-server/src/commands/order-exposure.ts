import { formatId } from '@latchkey/protocol';
import { formatDate, formatTable, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { requireOrder, type Exposure, exposureOfOrder, exposureByOrder } from '@latchkey/operations';
import { isoTime } from '@latchkey/runtime/iso-time';
import { printJsonList, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

interface ExposureOptions extends RegistryOptions {
  readonly limit: number;
  readonly json?: true;
}

export function exposureCommand(): Command {
  const command = registryOptions(
    new Command('exposure')
      .description(
        'tell who was given which initial key, or which half of it, how many nodes still hold it, which controllers have seen it, and which could have keys that came of it',
      )
      .argument('[number]', 'of an order: its keys one by one; without it, all orders', integerArgument(1, 0xffff_ffff)),
  )
    .option('--limit <n>', 'rows of the table', integerArgument(1, 1_000_000), 100)
    .option('--json', 'as a JSON array, all of them')
    .action(expose);
  return withExamples(
    command,
    'latchkey-auth-server order exposure --data ./data',
    'latchkey-auth-server order exposure 1 --data ./data --json',
  );
}

async function expose(number: number | undefined, options: ExposureOptions): Promise<void> {
  await withRegistry(options, (registry) => {
    if (number !== undefined) requireOrder(registry, number);
    const all = number === undefined ? exposureByOrder(registry) : exposureOfOrder(registry, number);
    if (options.json === true) return printJsonList(all.map(viewOf));
    const rows = all.slice(0, options.limit).map((exposure) => {
      const { keys, split, issued, device_keys: deviceKeys, held, joined, controllers, retired_at, ...view } = viewOf(exposure);
      const names = issued.map(({ installer, at }) => `${installer} ${formatDate(Date.parse(at))}`).join(', ');
      const manufacturers = [...new Set(deviceKeys.map(({ manufacturer }) => manufacturer))].join(', ');
      const given = split ? "installer's half" : "key or installer's half";
      const holders = deviceKeys.length === 0 ? names : `${given}: ${names}; device key: ${manufacturers}`;
      const keyHolders = [...view.key_holders, ...(view.other_key_holders ? ['others?'] : [])].join(', ') || '-';
      return [keys, holders, String(held), String(joined), controllers.join(', ') || '-', keyHolders, retired_at ?? '-'];
    });
    const headings = ['INITIAL KEY', 'ISSUED TO', 'HELD BY', 'JOINED', 'SEEN BY CONTROLLERS', 'POSSIBLE KEY HOLDERS', 'RETIRED'];
    process.stdout.write(formatTable(headings, rows));
    if (all.length > rows.length) process.stderr.write(`${rows.length} of ${all.length} shown; --limit shows more\n`);
    return undefined;
  });
}

interface ExposureView {
  readonly keys: string;
  /** Whether all of the keys are made of a device key and the installer's half. */
  readonly split: boolean;
  /** Who was given the key; the installer's half, if it is split. */
  readonly issued: readonly { readonly order: number; readonly installer: string; readonly at: string }[];
  /** Who has the device keys; empty if the keys are whole. */
  readonly device_keys: readonly { readonly order: number; readonly manufacturer: string }[];
  readonly nodes: number;
  readonly held: number;
  readonly joined: number;
  readonly controllers: readonly string[];
  /** Controllers that could have the key, or one that came of it. */
  readonly key_holders: readonly string[];
  /** Whether more could: the registry does not know. */
  readonly other_key_holders: boolean;
  readonly retired_at: string | null;
}

function viewOf(exposure: Exposure): ExposureView {
  const { keys, issues, deviceKeyHolders, split, nodes, held, joined, controllers, holders, otherHolders, retiredAt } = exposure;
  return {
    keys: keys.kind === 'one' ? keys.fingerprint : `${keys.count} of order ${keys.order}`,
    split,
    issued: issues.map(({ order, installer, at }) => ({ order, installer, at: isoTime(at) })),
    device_keys: deviceKeyHolders,
    nodes,
    held,
    joined,
    controllers: controllers.map(formatId),
    key_holders: holders.map(formatId),
    other_key_holders: otherHolders,
    retired_at: retiredAt === undefined ? null : isoTime(retiredAt),
  };
}
