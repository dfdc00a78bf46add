import { formatDuration } from '@latchkey/runtime/config';
import { formatFields, formatTable, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { call, ordersClose, ordersList, ordersOpen, ordersResume, ordersShow, ordersSuspend } from '@latchkey/operations';
import type { OrderView } from '@latchkey/operations/contract';
import { createCommand } from './order-create.js';
import { exposureCommand } from './order-exposure.js';
import { exportCommand, labelsCommand } from './order-export.js';
import {
  checkWindow,
  describeWindow,
  type JoinWindow,
  joinWindowOptions,
  windowInput,
  withOrderNumber,
} from './order-options.js';
import {
  confirm,
  pluralize,
  printJson,
  printJsonList,
  registryOptions,
  type RegistryOptions,
  withContext,
  yesOption,
} from './registry-command.js';

export function orderCommand(): Command {
  return new Command('order')
    .description('orders to installers, and imports')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(exportCommand())
    .addCommand(labelsCommand())
    .addCommand(openCommand())
    .addCommand(suspendCommand())
    .addCommand(resumeCommand())
    .addCommand(closeCommand())
    .addCommand(exposureCommand());
}

function keysOf({ kind, shared_key: shared, manufacturer }: OrderView): string {
  if (manufacturer !== null) {
    const halves = shared ? "one installer's half for all" : "an installer's half per node";
    return `${halves}, and device keys from ${manufacturer}`;
  }
  if (!shared) return 'one per node';
  return kind === 'import' ? 'shared by several nodes' : 'one for all';
}

const HEADINGS: readonly string[] = [
  'ORDER',
  'KIND',
  'STATE',
  'INSTALLER',
  'CONTROLLER',
  'NODES',
  'JOINED',
  'MAY JOIN FROM',
  'UNTIL',
  'CREATED',
];

function listCommand(): Command {
  const command = registryOptions(new Command('list').description('list the orders and imports'))
    .option('--json', 'as a JSON array')
    .action(list);
  return withExamples(command, 'latchkey-auth-server order list --data ./data');
}

async function list(options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withContext(options, async (context) => {
    const { items: views } = await call(ordersList, context, {});
    if (options.json === true) return printJsonList(views);
    const rows = views.map((view) => [
      String(view.order),
      view.kind,
      view.state,
      view.installer,
      view.controller ?? '-',
      String(view.nodes),
      String(view.joined),
      view.join_from ?? '-',
      view.join_until ?? '-',
      view.created_at,
    ]);
    process.stdout.write(formatTable(HEADINGS, rows));
    return undefined;
  });
}

function showCommand(): Command {
  const command = withOrderNumber(new Command('show').description('tell all about one order'))
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server order show 1 --data ./data');
}

async function show(number: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withContext(options, async (context) => {
    const view = await call(ordersShow, context, { order: number });
    if (options.json === true) return printJson(view);
    process.stdout.write(
      formatFields({
        order: String(view.order),
        kind: view.kind,
        state: view.state,
        installer: view.installer,
        controller: view.controller ?? undefined,
        nodes: `${view.nodes}, of which ${view.joined} joined`,
        'initial key': keysOf(view),
        lifetime: `${formatDuration(view.lifetime_seconds)}, grace ${formatDuration(view.grace_seconds)}`,
        'may join from': view.join_from ?? undefined,
        'may join until': view.join_until ?? undefined,
        created: view.created_at,
      }),
    );
    return undefined;
  });
}

function openCommand(): Command {
  const command = joinWindowOptions(
    withOrderNumber(
      new Command('open').description('let nodes of the order join for the first time, now or in a window of time'),
    ),
  ).action(open);
  return withExamples(
    command,
    'latchkey-auth-server order open 1 --data ./data',
    'latchkey-auth-server order open 1 --data ./data --join-until 2026-12-24',
  );
}

async function open(number: number, options: RegistryOptions & JoinWindow): Promise<void> {
  checkWindow(options, ['latchkey-auth-server', 'order', 'suspend', String(number)]);
  await withContext(options, (context) => call(ordersOpen, context, { order: number, ...windowInput(options) }));
  process.stdout.write(`Order ${number} is open${describeWindow(options)}\n`);
}

function suspendCommand(): Command {
  const command = withOrderNumber(
    new Command('suspend').description('let no more nodes of the order join for the first time, until it is resumed'),
  ).action(suspend);
  return withExamples(command, 'latchkey-auth-server order suspend 1 --data ./data');
}

async function suspend(number: number, options: RegistryOptions): Promise<void> {
  await withContext(options, (context) => call(ordersSuspend, context, { order: number }));
  process.stdout.write(`Order ${number} is suspended; nodes that have joined renew their keys as before\n`);
}

function resumeCommand(): Command {
  const command = withOrderNumber(
    new Command('resume').description('let nodes of a suspended order join again, within its join window'),
  ).action(resume);
  return withExamples(command, 'latchkey-auth-server order resume 1 --data ./data');
}

async function resume(number: number, options: RegistryOptions): Promise<void> {
  const { state } = await withContext(options, (context) => call(ordersResume, context, { order: number }));
  process.stdout.write(`Order ${number} is resumed: ${state}\n`);
}

function closeCommand(): Command {
  const command = withOrderNumber(
    new Command('close').description('close an order for good: its initial keys are worth nothing from then on'),
  )
    .addOption(yesOption())
    .action(close);
  return withExamples(command, 'latchkey-auth-server order close 1 --data ./data');
}

async function close(number: number, { yes, ...options }: RegistryOptions & { readonly yes?: true }): Promise<void> {
  const approve = async ({ remaining }: { readonly remaining: number }): Promise<void> => {
    if (remaining > 0)
      await confirm(`${pluralize(remaining, 'node')} of order ${number} have not joined and never will. Close it?`, yes);
  };
  await withContext(options, (context) => call(ordersClose, { ...context, approve }, { order: number }));
  process.stdout.write(`Order ${number} is closed\n`);
}
