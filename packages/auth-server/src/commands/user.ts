import {
  addUser,
  createLink,
  isProviderName,
  isUserName,
  linkExpiry,
  openUserStore,
  removeUser,
  type Role,
  ROLES,
  setRole,
  type SignInLink,
  USER_NAME_RULE,
  type UserAdministration,
} from '@latchkey/api/users';
import { withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { Command, InvalidArgumentError, Option } from 'commander';
import { commandConfigSchema } from '../config.js';
import type { OrderLimits } from '@latchkey/operations/contract';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { type LimitOptions, limitOptions, limitsColumn, limitsOf } from './limit-options.js';
import { configOption, currentUser, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

interface RoleOptions extends LimitOptions {
  readonly role: Role;
}

interface LinkOptions extends RegistryOptions {
  readonly config: string;
}

export function userCommand(): Command {
  return new Command('user')
    .description('persons who sign in to the console, and what they may do')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(setCommand())
    .addCommand(linkCommand())
    .addCommand(removeCommand());
}

function addCommand(): Command {
  const command = registryOptions(
    new Command('add').description('add a user, and print a link that sets the password'),
    originOption(),
  )
    .argument('<name>', 'to sign in with', nameArgument)
    .addOption(roleOption())
    .action(add);
  return withExamples(
    limitOptions(command, 'limit an installer'),
    'latchkey-auth-server user add ada --data ./data --config /etc/latchkey/auth-server.yaml --role admin',
    'latchkey-auth-server user add kim --data ./data --config /etc/latchkey/auth-server.yaml --role installer --installer "Kim & Sons"',
  );
}

async function add(name: string, { role, ...options }: LinkOptions & RoleOptions): Promise<void> {
  const origin = await originOf(options.config);
  const link = await withUsers(options, origin, (administration) => addUser(administration, name, role, limitsOf(options)));
  process.stdout.write(`User ${name} is added, with the role ${role}.\n${describeLink(link)}`);
}

interface UserView {
  readonly name: string;
  readonly role: string;
  /** Of an installer. */
  readonly limits: OrderLimits | null;
  readonly has_password: boolean;
  readonly created_by: string;
  readonly created_at: string;
  readonly link_expires_at: string | null;
}

const COLUMNS: readonly Column<UserView>[] = [
  { name: 'name', heading: 'NAME', value: ({ name }) => name },
  { name: 'role', heading: 'ROLE', value: ({ role }) => role },
  limitsColumn(),
  {
    name: 'password',
    heading: 'PASSWORD',
    value: ({ has_password: isSet }) => isSet,
    text: ({ has_password: isSet }) => (isSet ? 'set' : 'not set'),
  },
  { name: 'link-until', heading: 'LINK UNTIL', value: ({ link_expires_at: at }) => at, isTime: true },
  { name: 'added-by', heading: 'ADDED BY', value: ({ created_by: by }) => by },
  { name: 'added', heading: 'ADDED', value: ({ created_at: at }) => at, isTime: true },
];

function listCommand(): Command {
  const command = registryOptions(new Command('list').description('list the users'));
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(command, 'latchkey-auth-server user list --data ./data');
}

async function list(options: RegistryOptions & ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withUsers(options, '', async ({ users, registryRestoredAt }) => {
    const now = Date.now();
    const views = users.list().map(({ name, role, limits = null, hasPassword, createdBy, createdAt, link }): UserView => ({
      name,
      role,
      limits,
      has_password: hasPassword,
      created_by: createdBy,
      created_at: isoTime(createdAt),
      link_expires_at: linkExpiry(link, now, registryRestoredAt),
    }));
    await output.print(views);
  });
}

function setCommand(): Command {
  const command = registryOptions(new Command('set').description('change the role of a user, from the next request on'))
    .argument('<name>', 'as `user list` shows it', nameArgument)
    .addOption(roleOption())
    .action(set);
  return withExamples(
    limitOptions(command, 'limit an installer'),
    'latchkey-auth-server user set ada --data ./data --role operator',
    'latchkey-auth-server user set kim --data ./data --role installer --order 5 --order 6',
  );
}

async function set(name: string, { role, ...options }: RegistryOptions & RoleOptions): Promise<void> {
  await withUsers(options, '', async (administration) => {
    if (!(await setRole(administration, name, role, limitsOf(options)))) throw noUser(name);
  });
  process.stdout.write(`User ${name} has the role ${role}\n`);
}

function linkCommand(): Command {
  const command = registryOptions(
    new Command('link').description('print a link that sets another password and ends all sessions of the user'),
    originOption(),
  )
    .argument('<name>', 'as `user list` shows it', nameArgument)
    .action(link);
  return withExamples(command, 'latchkey-auth-server user link ada --data ./data --config /etc/latchkey/auth-server.yaml');
}

async function link(name: string, options: LinkOptions): Promise<void> {
  const origin = await originOf(options.config);
  const made = await withUsers(options, origin, (administration) => createLink(administration, name));
  if (made === undefined) throw noUser(name);
  process.stdout.write(describeLink(made));
}

function removeCommand(): Command {
  const command = registryOptions(new Command('remove').description('remove a user, and end all sessions of the user'))
    .argument('<name>', 'as `user list` shows it', (text) => (isProviderName(text) ? text : nameArgument(text)))
    .action(remove);
  return withExamples(command, 'latchkey-auth-server user remove ada --data ./data');
}

async function remove(name: string, options: RegistryOptions): Promise<void> {
  await withUsers(options, '', async (administration) => {
    if (!(await removeUser(administration, name))) throw noUser(name);
  });
  process.stdout.write(`User ${name} is removed\n`);
}

function originOption(): Option {
  return configOption('YAML configuration of the auth-server: the link leads to its `origin:`').makeOptionMandatory();
}

function roleOption(): Option {
  return new Option('--role <role>', ROLES.join(', ')).choices(ROLES).makeOptionMandatory();
}

function nameArgument(text: string): string {
  if (!isUserName(text)) throw new InvalidArgumentError(USER_NAME_RULE);
  return text;
}

async function originOf(path: string): Promise<string> {
  const { api } = await loadConfig(commandConfigSchema, path);
  if (api?.browser === undefined)
    throw new UsageFailure(`${path} has no \`browser:\` below \`api:\``, {
      advice:
        'Say where browsers find the console, e.g. `browser: {listen: ["127.0.0.1:8080"], origin: "http://localhost:8080"}`.',
    });
  return api.browser.origin;
}

function describeLink({ url, expiresAt }: SignInLink): string {
  return `This link sets the password. It is good once, until ${isoTime(expiresAt)}:\n${url}\n`;
}

function noUser(name: string): NotFound {
  return new NotFound(`there is no user ${name}`, { advice: 'List them:', run: [['latchkey-auth-server', 'user', 'list']] });
}

async function withUsers<T>(
  options: RegistryOptions,
  origin: string,
  use: (administration: UserAdministration) => Promise<T>,
): Promise<T> {
  return withRegistry(options, async (registry) => {
    const users = await openUserStore(registry.folder);
    try {
      return await use({
        users,
        record: (event) => registry.record(event),
        actor: currentUser(),
        registryRestoredAt: registry.restored?.at ?? null,
        origin,
      });
    } finally {
      await users.close();
    }
  });
}
