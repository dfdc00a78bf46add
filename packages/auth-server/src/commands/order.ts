import { formatId } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { formatFields, formatTable, withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { requireOrder, orderNotFound, setJoinWindow, setOrderState } from '@latchkey/operations';
import { isoTime } from '@latchkey/runtime/iso-time';
import { orderStatus, type OrderStatus, type Registry, type OrderRecord } from '@latchkey/registry';
import { createCommand } from './order-create.js';
import { exposureCommand } from './order-exposure.js';
import { exportCommand, labelsCommand } from './order-export.js';
import {
  checkWindow,
  describeWindow,
  type JoinWindow,
  joinWindowOptions,
  withOrderNumber,
  storedWindow,
} from './order-options.js';
import {
  confirm,
  pluralize,
  printJson,
  printJsonList,
  registryOptions,
  type RegistryOptions,
  withRegistry,
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

interface OrderView {
  readonly order: number;
  readonly kind: OrderRecord['kind'];
  readonly state: OrderStatus;
  readonly installer: string;
  readonly controller: string | null;
  readonly nodes: number;
  readonly joined: number;
  readonly shared_key: boolean;
  /** Whether its initial keys are made of device keys and the installer's halves. */
  readonly split: boolean;
  readonly manufacturer: string | null;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
  readonly join_from: string | null;
  readonly join_until: string | null;
  readonly created_at: string;
}

/**
 * With how many of the nodes there still are have joined: one look at all of them. What is not
 * finished is not there.
 */
function viewsOf(registry: Registry, number?: number): OrderView[] {
  const now = Date.now();
  const counts = new Map<number, { nodes: number; joined: number }>();
  for (const order of registry.orders())
    if (number === undefined || order.number === number) counts.set(order.number, { nodes: 0, joined: 0 });
  for (const { order, initial } of registry.nodes()) {
    const count = counts.get(order);
    if (count === undefined) continue;
    count.nodes += 1;
    if (!initial) count.joined += 1;
  }
  return [...registry.orders()].flatMap((order) => {
    const count = counts.get(order.number);
    const state = orderStatus(order, now);
    return count === undefined || state === undefined ? [] : [viewOrder(order, state, count)];
  });
}

function viewOrder(
  order: OrderRecord,
  state: OrderStatus,
  { nodes, joined }: { readonly nodes: number; readonly joined: number },
): OrderView {
  const isoOrNull = (at: number | undefined): string | null => (at === undefined ? null : isoTime(at));
  return {
    order: order.number,
    kind: order.kind,
    state,
    installer: order.installer,
    controller: order.idC === undefined ? null : formatId(order.idC),
    nodes,
    joined,
    shared_key: order.sharedKey,
    split: order.manufacturer !== undefined,
    manufacturer: order.manufacturer ?? null,
    lifetime_seconds: order.lifetime,
    grace_seconds: order.grace,
    join_from: isoOrNull(order.joinFrom),
    join_until: isoOrNull(order.joinUntil),
    created_at: isoTime(order.createdAt),
  };
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
  await withRegistry(options, (registry) => {
    const views = viewsOf(registry);
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
  await withRegistry(options, (registry) => {
    requireOrder(registry, number);
    const [view] = viewsOf(registry, number);
    if (view === undefined) throw orderNotFound(number);
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
  await withRegistry(options, async (registry) => {
    requireOrder(registry, number);
    await setJoinWindow(registry, number, storedWindow(options));
  });
  process.stdout.write(`Order ${number} is open${describeWindow(options)}\n`);
}

function suspendCommand(): Command {
  const command = withOrderNumber(
    new Command('suspend').description('let no more nodes of the order join for the first time, until it is resumed'),
  ).action(suspend);
  return withExamples(command, 'latchkey-auth-server order suspend 1 --data ./data');
}

async function suspend(number: number, options: RegistryOptions): Promise<void> {
  await withRegistry(options, async (registry) => {
    requireOrder(registry, number);
    await setOrderState(registry, number, 'suspended');
  });
  process.stdout.write(`Order ${number} is suspended; nodes that have joined renew their keys as before\n`);
}

function resumeCommand(): Command {
  const command = withOrderNumber(
    new Command('resume').description('let nodes of a suspended order join again, within its join window'),
  ).action(resume);
  return withExamples(command, 'latchkey-auth-server order resume 1 --data ./data');
}

async function resume(number: number, options: RegistryOptions): Promise<void> {
  const state = await withRegistry(options, async (registry) => {
    requireOrder(registry, number);
    await setOrderState(registry, number, 'open');
    return orderStatus(requireOrder(registry, number), Date.now());
  });
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

async function close(number: number, options: RegistryOptions & { readonly yes?: true }): Promise<void> {
  await withRegistry(options, async (registry) => {
    requireOrder(registry, number);
    const [view] = viewsOf(registry, number);
    const remaining = (view?.nodes ?? 0) - (view?.joined ?? 0);
    if (remaining > 0)
      await confirm(`${pluralize(remaining, 'node')} of order ${number} have not joined and never will. Close it?`, options.yes);
    await setOrderState(registry, number, 'closed');
  });
  process.stdout.write(`Order ${number} is closed\n`);
}
