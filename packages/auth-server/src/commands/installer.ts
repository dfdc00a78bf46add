import { openInstallerStore } from '@latchkey/api/installers';
import {
  type InstallerContext,
  installerNotFound,
  installersAdd,
  installersList,
  installersRemove,
  installersSet,
  type InstallerStore,
} from '@latchkey/operations';
import { type InstallerView, TEXT_LIMITS } from '@latchkey/operations/contract';
import { checkRecipients } from '@latchkey/provisioning';
import { formatFields, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command, Option } from 'commander';
import { textOrNull } from './controller-options.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { call, type CommandContext, withOperations } from './operation-call.js';
import { installerArgument } from './order-options.js';
import { confirm, operationOptions, pluralize, printJson, type RegistryOptions, yesOption } from './registry-command.js';

export function installerCommand(): Command {
  return new Command('installer')
    .description('installers: how they are reached, and whom their keys are encrypted to')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(setCommand())
    .addCommand(removeCommand());
}

interface TextOptions {
  readonly contact?: string;
  readonly site?: string;
  readonly note?: string;
  readonly recipient?: readonly string[];
}

interface AddOptions extends RegistryOptions, TextOptions {
  readonly json?: true;
}

function addCommand(): Command {
  const command = textOptions(
    operationOptions(new Command('add').description('add an installer, under the name that orders have')).argument(
      '<name>',
      'as `order create --installer` has it',
      installerArgument,
    ),
    '',
  );
  return withExamples(
    command.option('--json', 'print the installer as JSON').action(add),
    'latchkey-auth-server installer add "Kim & Sons" --data ./data --contact "+49 30 1234" --recipient age1...',
    'latchkey-auth-server installer add Bo --server unix:/run/latchkey/auth-server-api/api.sock',
  );
}

/** @param none what an empty text does */
function textOptions(command: Command, none: string): Command {
  return command
    .option('--contact <text>', `how the installer is reached, ${TEXT_LIMITS.contact} characters at most${none}`)
    .option('--site <text>', `where the installer works, ${TEXT_LIMITS.site} characters at most${none}`)
    .option('--note <text>', `${TEXT_LIMITS.note} characters at most${none}`)
    .addOption(
      new Option(
        '--recipient <age1...>',
        'age recipient that keys for the installer are encrypted to; may be given again',
      ).argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]),
    );
}

async function add(name: string, { contact, site, note, recipient, json, ...options }: AddOptions): Promise<void> {
  if (recipient !== undefined) await checkRecipients(recipient);
  await withInstallers(options, async (context) => {
    const added = await call(installersAdd, context, { name, contact, site, note, recipients: recipient });
    if (json === true) return printJson(added);
    process.stdout.write(`Installer ${added.name} is added, ${describeCount(added)}\n`);
    return undefined;
  });
}

function describeCount({ recipients: { length } }: InstallerView): string {
  return length === 0 ? 'without a recipient' : `with ${pluralize(length, 'recipient')}`;
}

const COLUMNS: readonly Column<InstallerView>[] = [
  { name: 'name', heading: 'NAME', value: ({ name }) => name },
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'contact', heading: 'CONTACT', value: ({ contact }) => contact, unlessEmpty: true },
  { name: 'site', heading: 'SITE', value: ({ site }) => site, unlessEmpty: true },
  { name: 'note', heading: 'NOTE', value: ({ note }) => note, onDemand: true },
  {
    name: 'recipients',
    heading: 'RECIPIENTS',
    value: ({ recipients }) => recipients,
    text: ({ recipients }) => String(recipients.length),
  },
  { name: 'changed', heading: 'RECIPIENTS CHANGED', value: ({ recipients_changed_at: at }) => at, isTime: true },
  { name: 'changed-by', heading: 'BY', value: ({ recipients_changed_by: by }) => by },
  { name: 'added', heading: 'ADDED', value: ({ created_at: at }) => at, isTime: true, onDemand: true },
];

function listCommand(): Command {
  const command = operationOptions(new Command('list').description('list the installers'));
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(command, 'latchkey-auth-server installer list --data ./data');
}

async function list(options: RegistryOptions & ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withInstallers(options, async (context) => output.print((await call(installersList, context, {})).items));
}

function showCommand(): Command {
  const command = oneInstaller(new Command('show').description('show one installer, with the recipients in full'))
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server installer show "Kim & Sons" --data ./data');
}

function oneInstaller(command: Command): Command {
  return operationOptions(command).argument('<name>', 'as `installer list` shows it', installerArgument);
}

async function show(name: string, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withInstallers(options, async (context) => {
    const installer = await installerNamed(context, name);
    if (options.json === true) return printJson(installer);
    const { recipients_changed_at: changedAt, recipients_changed_by: changedBy } = installer;
    process.stdout.write(
      formatFields({
        name: installer.name,
        id: installer.id,
        contact: installer.contact ?? undefined,
        site: installer.site ?? undefined,
        note: installer.note ?? undefined,
        added: installer.created_at,
        'recipients changed': changedAt === null ? undefined : `${changedAt}, by ${changedBy}`,
        recipients: installer.recipients.length === 0 ? 'none' : undefined,
      }),
    );
    for (const recipient of installer.recipients) process.stdout.write(`${recipient}\n`);
    return undefined;
  });
}

interface SetOptions extends RegistryOptions, TextOptions {
  /** `false`: all of them are removed. */
  readonly recipients: boolean;
  readonly json?: true;
}

function setCommand(): Command {
  const command = textOptions(
    oneInstaller(new Command('set').description('change how an installer is reached, or its recipients; the name stays')),
    "; '' for none",
  )
    .addOption(new Option('--no-recipients', 'remove all recipients').conflicts('recipient'))
    .option('--json', 'print the installer as JSON')
    .addHelpText('after', '\nRecipients that are given take the place of those that are stored.')
    .action(set);
  return withExamples(
    command,
    'latchkey-auth-server installer set "Kim & Sons" --data ./data --recipient age1... --recipient age1...',
    'latchkey-auth-server installer set "Kim & Sons" --data ./data --no-recipients',
  );
}

async function set(
  name: string,
  { contact, site, note, recipient, recipients: keepsAny, json, ...options }: SetOptions,
): Promise<void> {
  const recipients = keepsAny ? recipient : [];
  if (contact === undefined && site === undefined && note === undefined && recipients === undefined)
    throw new UsageFailure('expected --contact, --site, --note, --recipient or --no-recipients');
  if (recipient !== undefined) await checkRecipients(recipient);
  await withInstallers(options, async (context) => {
    const { id } = await installerNamed(context, name);
    const { changed, ...installer } = await call(installersSet, context, {
      installer: id,
      contact: textOrNull(contact),
      site: textOrNull(site),
      note: textOrNull(note),
      recipients,
    });
    if (json === true) return printJson({ changed, ...installer });
    const done = changed ? 'is changed' : 'is so already';
    process.stdout.write(`Installer ${installer.name} ${done}, ${describeCount(installer)}\n`);
    return undefined;
  });
}

function removeCommand(): Command {
  const command = oneInstaller(new Command('remove').description('remove an installer and its recipients; its orders stay'))
    .addOption(yesOption())
    .action(remove);
  return withExamples(command, 'latchkey-auth-server installer remove "Kim & Sons" --data ./data');
}

async function remove(name: string, { yes, ...options }: RegistryOptions & { readonly yes?: true }): Promise<void> {
  await withInstallers(options, async (context) => {
    const installer = await installerNamed(context, name);
    await confirm(`Remove installer ${installer.name}, ${describeCount(installer)}? Its orders stay.`, yes);
    await call(installersRemove, context, { installer: installer.id });
    process.stdout.write(`Installer ${installer.name} is removed\n`);
  });
}

export type InstallersContext = CommandContext & Pick<InstallerContext, 'installers'>;

/** Elsewhere the API has the installers; here they are read from its store. */
async function withInstallers<T>(options: RegistryOptions, use: (context: InstallersContext) => Promise<T>): Promise<T> {
  return withOperations(options, (context) => atInstallers(context, use));
}

/** Opens the store of installers for a command that works on the registry too. */
export async function atInstallers<T>(context: CommandContext, use: (context: InstallersContext) => Promise<T>): Promise<T> {
  if (context.place.kind === 'elsewhere') return use(context as InstallersContext);
  const installers: InstallerStore & { readonly close: () => Promise<void> } = await openInstallerStore(
    context.place.context.registry.folder,
  );
  try {
    return await use({ ...context, installers });
  } finally {
    await installers.close();
  }
}

/** @throws NotFound */
export async function installerNamed(context: InstallersContext, name: string): Promise<InstallerView> {
  const [found] = (await call(installersList, context, { name })).items;
  if (found === undefined) throw installerNotFound(name);
  return found;
}
