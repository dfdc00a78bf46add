import { formatId } from '@latchkey/protocol';
import { Failure, formatFields, formatTable, idArgument, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { NODE_HEADINGS, nodeFields, nodeRow, type NodeView, viewNode } from '../node-view.js';
import { type Registry } from '../registry.js';
import { dataOption, printJson, printJsonList, withRegistry } from './with-registry.js';

export function nodeCommand(): Command {
  return new Command('node').description('the nodes in the registry').addCommand(listCommand()).addCommand(showCommand());
}

function listCommand(): Command {
  const command = new Command('list')
    .description('list the nodes, by ID')
    .addOption(dataOption())
    .option('--json', 'as a JSON array, one node a line')
    .action(list);
  return withExamples(
    command,
    'latchkey-auth-server node list --data ./data',
    'latchkey-auth-server node list --data ./data --json | jq \'.[] | select(.state == "enrolled").id\'',
  );
}

async function list({ data, json }: { data: string; json?: true }): Promise<void> {
  await withRegistry(data, (registry) => {
    const now = Date.now();
    const views = viewsOf(registry, now);
    if (json === true) return printJsonList(views);
    process.stdout.write(formatTable(NODE_HEADINGS, [...views].map(nodeRow)));
    return undefined;
  });
}

function* viewsOf(registry: Registry, now: number): Generator<NodeView> {
  for (const node of registry.nodes()) yield viewNode(node, now);
}

function showCommand(): Command {
  const command = new Command('show')
    .description('tell all about one node but its key')
    .argument('<id>', 'ID_i, 8 hex digits', idArgument)
    .addOption(dataOption())
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server node show 0000a1b2 --data ./data');
}

async function show(idI: number, { data, json }: { data: string; json?: true }): Promise<void> {
  await withRegistry(data, (registry) => {
    const node = registry.node(idI);
    if (node === undefined)
      throw new Failure(`node ${formatId(idI)} is not in the registry`, { advice: 'Run: latchkey-auth-server node list' });
    const view = viewNode(node, Date.now());
    if (json === true) printJson(view);
    else process.stdout.write(formatFields(nodeFields(view)));
  });
}
