import { formatDate, formatTable, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { ordersExposure } from '@latchkey/operations';
import { printJsonList, operationOptions, type RegistryOptions } from './registry-command.js';
import { call, withOperations } from './operation-call.js';

interface ExposureOptions extends RegistryOptions {
  readonly limit: number;
  readonly json?: true;
}

export function exposureCommand(): Command {
  const command = operationOptions(
    new Command('exposure')
      .description(
        'show who received which initial key, or which half of it, how many nodes still hold it, which controllers have seen it, and which could have keys derived from it',
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
  await withOperations(options, async (context) => {
    const { items: all } = await call(ordersExposure, context, { order: number });
    if (options.json === true) return printJsonList(all);
    const rows = all.slice(0, options.limit).map((exposure) => {
      const { keys, split, issued, device_keys: deviceKeys, held, joined, controllers, retired_at, ...view } = exposure;
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
