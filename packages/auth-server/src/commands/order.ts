import { formatDuration } from '@latchkey/runtime/config';
import { formatFields, type GivenTime, startTimeArgument, TIME_HELP, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { ordersClose, ordersList, ordersOpen, ordersResume, ordersSet, ordersShow, ordersSuspend } from '@latchkey/operations';
import { type OrderView, TEXT_LIMITS } from '@latchkey/operations/contract';
import { UsageFailure } from '@latchkey/runtime/failure';
import { textOrNull } from './controller-options.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
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
import { confirm, pluralize, printJson, operationOptions, type RegistryOptions, yesOption } from './registry-command.js';
import { call, withOperations } from './operation-call.js';

export function orderCommand(): Command {
  return new Command('order')
    .description('orders to installers, and imports')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(exportCommand())
    .addCommand(labelsCommand())
    .addCommand(setCommand())
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

const COLUMNS: readonly Column<OrderView>[] = [
  { name: 'order', heading: 'ORDER', value: ({ order }) => order },
  { name: 'kind', heading: 'KIND', value: ({ kind }) => kind },
  { name: 'state', heading: 'STATE', value: ({ state }) => state },
  { name: 'installer', heading: 'INSTALLER', value: ({ installer }) => installer },
  { name: 'contact', heading: 'CONTACT', value: ({ contact }) => contact, onDemand: true },
  { name: 'site', heading: 'SITE', value: ({ site }) => site, unlessEmpty: true },
  { name: 'controller', heading: 'CONTROLLER', value: ({ controller }) => controller },
  { name: 'nodes', heading: 'NODES', value: ({ nodes }) => nodes },
  { name: 'joined', heading: 'JOINED', value: ({ joined }) => joined },
  { name: 'join-from', heading: 'MAY JOIN FROM', value: ({ join_from: at }) => at, isTime: true },
  { name: 'join-until', heading: 'UNTIL', value: ({ join_until: at }) => at, isTime: true },
  { name: 'created', heading: 'CREATED', value: ({ created_at: at }) => at, isTime: true },
];

interface OrderListOptions extends RegistryOptions, ListOptions {
  readonly since?: GivenTime;
}

function listCommand(): Command {
  const command = operationOptions(new Command('list').description('list the orders and imports')).option(
    '--since <time>',
    `made not before: ${TIME_HELP}`,
    startTimeArgument,
  );
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(
    command,
    'latchkey-auth-server order list --data ./data',
    'latchkey-auth-server order list --data ./data --since 2026-11-01 --sort -nodes',
  );
}

async function list({ since, ...options }: OrderListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  if (since?.local === true) process.stderr.write(`Orders made since ${since.text}\n`);
  await withOperations(options, async (context) => {
    const { items } = await call(ordersList, context, {});
    await output.print(items.filter(({ created_at: at }) => since === undefined || Date.parse(at) >= since.at));
  });
}

function showCommand(): Command {
  const command = withOrderNumber(new Command('show').description('show one order'))
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server order show 1 --data ./data');
}

async function show(number: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withOperations(options, async (context) => {
    const view = await call(ordersShow, context, { order: number });
    if (options.json === true) return printJson(view);
    process.stdout.write(
      formatFields({
        order: String(view.order),
        kind: view.kind,
        state: view.state,
        installer: view.installer,
        contact: view.contact ?? undefined,
        site: view.site ?? undefined,
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

interface SetOptions extends RegistryOptions {
  readonly contact?: string;
  readonly site?: string;
}

function setCommand(): Command {
  const command = withOrderNumber(new Command('set').description('say how its installer is reached, or where its nodes are'))
    .option('--contact <text>', `of the installer, ${TEXT_LIMITS.contact} characters at most; '' for none`)
    .option('--site <text>', `of nodes that have none of their own, ${TEXT_LIMITS.site} characters at most; '' for none`)
    .action(set);
  return withExamples(command, 'latchkey-auth-server order set 1 --data ./data --site north --contact "+49 30 1234"');
}

async function set(order: number, { contact, site, ...options }: SetOptions): Promise<void> {
  if (contact === undefined && site === undefined) throw new UsageFailure('expected --contact or --site');
  const input = { order, contact: textOrNull(contact), site: textOrNull(site) };
  const { changed } = await withOperations(options, (context) => call(ordersSet, context, input));
  process.stdout.write(changed ? `Order ${order} is described\n` : `Order ${order} is described so already\n`);
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
  await withOperations(options, (context) => call(ordersOpen, context, { order: number, ...windowInput(options) }));
  process.stdout.write(`Order ${number} is open${describeWindow(options)}\n`);
}

function suspendCommand(): Command {
  const command = withOrderNumber(
    new Command('suspend').description('let no more nodes of the order join for the first time, until it is resumed'),
  ).action(suspend);
  return withExamples(command, 'latchkey-auth-server order suspend 1 --data ./data');
}

async function suspend(number: number, options: RegistryOptions): Promise<void> {
  await withOperations(options, (context) => call(ordersSuspend, context, { order: number }));
  process.stdout.write(`Order ${number} is suspended; nodes that have joined renew their keys as before\n`);
}

function resumeCommand(): Command {
  const command = withOrderNumber(
    new Command('resume').description('let nodes of a suspended order join again, within its join window'),
  ).action(resume);
  return withExamples(command, 'latchkey-auth-server order resume 1 --data ./data');
}

async function resume(number: number, options: RegistryOptions): Promise<void> {
  const { state } = await withOperations(options, (context) => call(ordersResume, context, { order: number }));
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
  await withOperations(options, (context) => call(ordersClose, { ...context, approve }, { order: number }));
  process.stdout.write(`Order ${number} is closed\n`);
}
