import { rm } from 'node:fs/promises';
import { formatId } from '@latchkey/protocol';
import {
  type Endpoint,
  exists,
  formatEndpoint,
  formatTable,
  idArgument,
  peerArgument,
  UsageFailure,
  withExamples,
  writeCredential,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { isoTime } from '../node-view.js';
import { drawKey } from '../order.js';
import { type ControllerRecord } from '../registry.js';
import { dataOption, printJsonList, withRegistry } from './with-registry.js';

export function controllerCommand(): Command {
  return new Command('controller')
    .description('the controllers that may ask this server')
    .addCommand(addCommand())
    .addCommand(listCommand());
}

interface AddOptions {
  readonly data: string;
  readonly nid: Endpoint;
  readonly server?: readonly Endpoint[];
  readonly out: string;
}

function addCommand(): Command {
  const command = new Command('add')
    .description('add a controller and write its credential, a JSON file for it alone')
    .argument('<id>', 'ID_c, 8 hex digits', idArgument)
    .addOption(dataOption())
    .requiredOption('--nid <host:port>', 'where nodes reach it', peerArgument)
    .option(
      '--server <host:port>',
      'where it reaches an auth-server; may be given again, in the order they are tried',
      (text: string, before: readonly Endpoint[] | undefined) => [...(before ?? []), peerArgument(text)],
    )
    .requiredOption('--out <file>', 'the credential; must not exist')
    .action(add);
  return withExamples(
    command,
    'latchkey-auth-server controller add 00000001 --data ./data --nid 192.0.2.1:5683 --server 192.0.2.7:5693 --out controller-1.json',
  );
}

async function add(idC: number, options: AddOptions): Promise<void> {
  const servers = options.server ?? [];
  await withRegistry(options.data, async (registry) => {
    if (registry.controller(idC) !== undefined) {
      throw new UsageFailure(`controller ${formatId(idC)} is in the registry already`, { advice: 'Nothing was changed.' });
    }
    if (await exists(options.out))
      throw new UsageFailure(`${options.out} exists already`, { advice: 'Nothing was changed. Choose another name.' });
    const skCs = drawKey();
    await writeCredential(options.out, { idC, skCs, servers });
    try {
      await registry.addController({ idC, skCs, nid: options.nid, servers, addedAt: Date.now() });
    } catch (error) {
      await rm(options.out);
      throw error;
    }
  });
  process.stdout.write(`Controller ${formatId(idC)} is in the registry; its credential is in ${options.out}\n`);
}

function listCommand(): Command {
  const command = new Command('list')
    .description('list the controllers')
    .addOption(dataOption())
    .option('--json', 'as a JSON array')
    .action(list);
  return withExamples(
    command,
    'latchkey-auth-server controller list --data ./data',
    'latchkey-auth-server controller list --data ./data --json',
  );
}

async function list({ data, json }: { data: string; json?: true }): Promise<void> {
  await withRegistry(data, (registry) => {
    const views = [...registry.controllers()].map(viewController);
    if (json === true) return printJsonList(views);
    const rows = views.map((view) => [view.id, view.nid, view.servers.join(', ') || '-', view.key, view.added_at]);
    process.stdout.write(formatTable(['ID', 'NODES REACH IT AT', 'SERVERS', 'SK_CS', 'ADDED'], rows));
    return undefined;
  });
}

function viewController(controller: ControllerRecord): {
  id: string;
  nid: string;
  servers: string[];
  key: string;
  added_at: string;
} {
  return {
    id: formatId(controller.idC),
    nid: formatEndpoint(controller.nid),
    servers: controller.servers.map(formatEndpoint),
    key: controller.skCs.fingerprint,
    added_at: isoTime(controller.addedAt),
  };
}
