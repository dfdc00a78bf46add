import { rm } from 'node:fs/promises';
import {
  addToken,
  generateToken,
  isNetwork,
  isTokenId,
  LIMITABLE_SCOPES,
  MAX_LIFETIME_S,
  openTokenStore,
  readTokenName,
  revokeToken,
  type Scope,
  TOKEN_NAME_RULE,
  TOKEN_SCOPES,
  type TokenAdministration,
  type TokenView,
  viewToken,
} from '@latchkey/api/tokens';
import { openUserStore, type UserStore } from '@latchkey/api/users';
import { MAX_RECIPIENTS } from '@latchkey/operations/contract';
import { checkRecipients } from '@latchkey/provisioning';
import { withExamples } from '@latchkey/runtime/cli';
import { NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { createFile } from '@latchkey/runtime/files';
import { isoTime } from '@latchkey/runtime/iso-time';
import { Command, InvalidArgumentError, Option } from 'commander';
import { type LimitOptions, limitOptions, limitsColumn, limitsOf } from './limit-options.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { currentUser, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';
import { lifetimeArgument, scopeArgument } from './token-options.js';

const DEFAULT_LIFETIME = '90d';
const expiresArgument = lifetimeArgument(1, MAX_LIFETIME_S, '12h, 30d or 52w, a year at most');

export function tokenCommand(): Command {
  return new Command('token')
    .description('API tokens, for callers of the management API on other machines')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand());
}

interface CreateOptions extends RegistryOptions, LimitOptions {
  readonly scope: readonly Scope[];
  readonly expires: number;
  readonly from?: readonly string[];
  readonly recipient?: readonly string[];
  readonly out: string;
}

function createCommand(): Command {
  const command = registryOptions(new Command('create').description('make a token, and write it to a file'))
    .argument('<name>', 'what it is for, for `token list`', nameArgument)
    .addOption(
      new Option('--scope <scope>', `${TOKEN_SCOPES.join(', ')}; may be given again`)
        .argParser(scopeArgument(TOKEN_SCOPES))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--expires <duration>', 'from now, a year at most, e.g. 30d')
        .argParser(expiresArgument)
        .default(expiresArgument(DEFAULT_LIFETIME), DEFAULT_LIFETIME),
    )
    .option(
      '--from <network>',
      'where it may be used from, e.g. 192.0.2.0/24; may be given again (default: anywhere)',
      networkArgument,
    )
    .option(
      '--recipient <age1...>',
      'recipient that keys may be encrypted to, with --scope keys; may be given again',
      (text, before?: readonly string[]) => [...(before ?? []), text],
    )
    .requiredOption('--out <file>', 'the token; must not exist')
    .action(create);
  return withExamples(
    limitOptions(command, 'limit it'),
    'latchkey-auth-server token create monitoring --data ./data --scope read --out monitoring.token',
    'latchkey-auth-server token create audit --data ./data --scope read --scope audit --expires 30d --from 192.0.2.0/24 --out audit.token',
    'latchkey-auth-server token create north --data ./data --scope read --scope describe --site north --out north.token',
    'latchkey-auth-server token create orders --data ./data --scope read --scope keys --recipient age1... --from 192.0.2.7 --out orders.token',
  );
}

async function create(
  name: string,
  { scope, expires, from = [], recipient = [], out, ...options }: CreateOptions,
): Promise<void> {
  const limits = limitsOf(options);
  const unlimited = limits === undefined ? undefined : scope.find((one) => !LIMITABLE_SCOPES.includes(one));
  if (unlimited !== undefined)
    throw new UsageFailure(`--scope ${unlimited} is not about orders, so --order, --site and --installer do not limit it`, {
      advice: `Make a token of its own for it. Scopes that can be limited: ${LIMITABLE_SCOPES.join(', ')}.`,
    });
  const wrong = from.find((network) => !isNetwork(network));
  if (wrong !== undefined)
    throw new UsageFailure(`--from ${wrong}: expected an address, or a network such as 192.0.2.0/24 or 2001:db8::/32`);
  await requireRecipients(scope, recipient, from);
  const token = generateToken();
  const terms = { name, scopes: scope, limits, networks: from, recipients: recipient, lifetimeSeconds: expires };
  const expiresAt = await withTokens(options, async (administration) => {
    await createFile(out, `${token.text}\n`);
    try {
      return (await addToken(administration, token, terms)).expiresAt;
    } catch (error) {
      await rm(out);
      throw error;
    }
  });
  process.stdout.write(`Token ${token.id} is in ${out}, and nowhere else. It expires at ${isoTime(expiresAt)}.\n`);
}

/**
 * A stolen token that hands out keys is of no use elsewhere, and to who has none of the identities.
 */
async function requireRecipients(
  scopes: readonly Scope[],
  recipients: readonly string[],
  networks: readonly string[],
): Promise<void> {
  if (!scopes.includes('keys')) {
    if (recipients.length === 0) return;
    throw new UsageFailure('--recipient is of --scope keys, which is missing', { advice: 'Nothing was changed. Give both.' });
  }
  if (recipients.length === 0)
    throw new UsageFailure('--scope keys hands out keys, and --recipient is missing', {
      advice: 'Nothing was changed. Name whom keys may be encrypted to: age-keygen -o identity.txt prints a recipient.',
    });
  if (networks.length === 0)
    throw new UsageFailure('--scope keys hands out keys, and --from is missing', {
      advice: 'Nothing was changed. Name the address or the network that it is used from.',
    });
  if (recipients.length > MAX_RECIPIENTS) throw new UsageFailure(`expected ${MAX_RECIPIENTS} recipients at most`);
  await checkRecipients(recipients);
}

const COLUMNS: readonly Column<TokenView>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'name', heading: 'NAME', value: ({ name }) => name },
  { name: 'state', heading: 'STATE', value: ({ state }) => state },
  { name: 'scopes', heading: 'SCOPES', value: ({ scopes }) => scopes },
  limitsColumn(),
  { name: 'from', heading: 'FROM', value: ({ networks }) => networks, none: 'anywhere' },
  { name: 'recipients', heading: 'RECIPIENTS OF KEYS', value: ({ recipients }) => recipients, unlessEmpty: true },
  { name: 'made-by', heading: 'MADE BY', value: ({ created_by: by }) => by, onDemand: true },
  { name: 'made', heading: 'MADE', value: ({ created_at: at }) => at, isTime: true, onDemand: true },
  { name: 'expires', heading: 'EXPIRES', value: ({ expires_at: at }) => at, isTime: true },
  { name: 'last-used', heading: 'LAST USED', value: ({ last_used_at: at }) => at, isTime: true, none: 'never' },
  { name: 'last-used-from', heading: 'FROM ADDRESS', value: ({ last_used_from: from }) => from, unlessEmpty: true },
];

function listCommand(): Command {
  const command = registryOptions(new Command('list').description('list the tokens, without their secrets'));
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(command, 'latchkey-auth-server token list --data ./data');
}

async function list(options: RegistryOptions & ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withTokens(options, async ({ tokens, users, registryRestoredAt }) => {
    const context = { users, registryRestoredAt, now: Date.now() };
    await output.print((await tokens.list()).map((token) => viewToken(token, context)));
  });
}

function revokeCommand(): Command {
  const command = registryOptions(
    new Command('revoke').description('remove a token: it counts no more, from the next request on'),
  )
    .argument('<id>', 'as `token list` shows it')
    .action(revoke);
  return withExamples(command, 'latchkey-auth-server token revoke abcd2345 --data ./data');
}

async function revoke(id: string, options: RegistryOptions): Promise<void> {
  if (!isTokenId(id)) throw new UsageFailure('an ID of a token has 8 characters of a-z and 2-7', LIST_THEM);
  await withTokens(options, async (administration) => {
    if (!(await revokeToken(administration, id))) throw new NotFound(`there is no token ${id}`, LIST_THEM);
  });
  process.stdout.write(`Token ${id} is revoked\n`);
}

const LIST_THEM = { advice: 'List them:', run: [['latchkey-auth-server', 'token', 'list']] };

async function withTokens<T>(
  options: RegistryOptions,
  use: (administration: TokenAdministration & { readonly users: UserStore }) => Promise<T>,
): Promise<T> {
  return withRegistry(options, async (registry) => {
    const tokens = await openTokenStore(registry.folder);
    try {
      const users = await openUserStore(registry.folder);
      try {
        const record: TokenAdministration['record'] = (event) => registry.record(event);
        const registryRestoredAt = registry.restored?.at ?? null;
        return await use({ tokens, users, record, actor: currentUser(), registryRestoredAt });
      } finally {
        await users.close();
      }
    } finally {
      await tokens.close();
    }
  });
}

function nameArgument(text: string): string {
  const name = readTokenName(text);
  if (name === undefined) throw new InvalidArgumentError(TOKEN_NAME_RULE);
  return name;
}

function networkArgument(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}
