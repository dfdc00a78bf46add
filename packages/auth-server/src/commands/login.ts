import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { type ConfirmedLogin, logIn, LOGIN_SCOPES, MAX_LIFETIME_S, MAX_MACHINE, MIN_LIFETIME_S } from '@latchkey/api/client';
import { formatLocalTime, withExamples } from '@latchkey/runtime/cli';
import { formatDuration } from '@latchkey/runtime/config';
import { Failure, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { exists, replaceFile } from '@latchkey/runtime/files';
import { Command, Option } from 'commander';
import { changeContexts, contextNamed, contextsPath, readContexts, type SavedContext } from './contexts-file.js';
import { openServer } from './place-options.js';
import { confirm, printJson, yesOption } from './registry-command.js';
import { lifetimeArgument, scopeArgument } from './token-options.js';

type LoginScope = (typeof LOGIN_SCOPES)[number];

interface LoginOptions {
  readonly context?: string;
  readonly scope?: readonly LoginScope[];
  readonly expires: number;
  readonly yes?: true;
  readonly json?: true;
}

export function loginCommand(): Command {
  const command = new Command('login')
    .description('get a token for a registry elsewhere: a person confirms it in the console')
    .option('--context <name>', 'the registry, as `context add` named it (default: the one in use)')
    .addOption(
      new Option(
        '--scope <scope>',
        `${LOGIN_SCOPES.join(', ')}; may be given again (default: all that the person may)`,
      ).argParser(scopeArgument(LOGIN_SCOPES)),
    )
    .addOption(
      new Option('--expires <duration>', 'of the token, 12h at most')
        .argParser(lifetimeArgument(MIN_LIFETIME_S, MAX_LIFETIME_S, '30m or 8h, from 1m to 12h'))
        .default(MAX_LIFETIME_S, formatDuration(MAX_LIFETIME_S)),
    )
    .addOption(yesOption())
    .option('--json', 'what came of it as JSON, on standard output; the code is on standard error')
    .action(login);
  return withExamples(
    command,
    'latchkey-auth-server context add plant --server https://plant.example:8443',
    'latchkey-auth-server login --context plant',
    'latchkey-auth-server login --scope read --expires 1h',
  );
}

async function login({ context: named, scope, expires, yes, json }: LoginOptions): Promise<void> {
  const saved = await readContexts();
  const name = named ?? saved.current;
  if (name === null)
    throw new UsageFailure('no context is in use', {
      advice: 'Name one with --context. If there is none:',
      run: [['latchkey-auth-server', 'context', 'add', '--help']],
    });
  const context = contextNamed(saved, name);
  const server = await openServer({ ...context, by: `the context ${name}` });
  if (server.target.kind === 'unix')
    throw new UsageFailure(`the context ${name} needs no login: the kernel says who connects to ${context.server}`);
  const tokenFile = context.token_file ?? join(dirname(contextsPath()), `${name}.token`);
  await requireReplaceable(name, context, tokenFile, yes);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const confirmed = await logIn(server, {
    machine: machineName(),
    context: name,
    scopes: scope,
    lifetimeSeconds: expires,
    show({ code, address, expiresSeconds }) {
      const lines = [
        `Open ${address} in a browser, sign in, and type this code there:`,
        '',
        `    ${code}`,
        '',
        `It is good for ${formatDuration(expiresSeconds)}. Give it to nobody. Ctrl-C gives up.`,
      ];
      process.stderr.write(`${lines.join('\n')}\n`);
    },
    warn: (message) => void process.stderr.write(`${message}\n`),
    signal: stop.signal,
  });
  await storeToken(name, context, tokenFile, confirmed);
  const { token_id: tokenId, user, scopes, expires_at: expiresAt } = confirmed;
  if (json === true)
    printJson({
      context: name,
      server: context.server,
      user,
      token_id: tokenId,
      scopes,
      expires_at: expiresAt,
      token_file: tokenFile,
    });
  else
    process.stdout.write(
      `Signed in at ${name}, ${context.server}, as ${user}: ${scopes.join(', ')}.\n` +
        `Token ${tokenId} is in ${tokenFile} until ${formatLocalTime(expiresAt)}.\n`,
    );
}

/** Asks before a token is lost that may be in no other place. */
async function requireReplaceable(name: string, context: SavedContext, path: string, yes: true | undefined): Promise<void> {
  if (!(await exists(dirname(path))))
    throw new UsageFailure(`the folder of ${path}, which the context ${name} names, does not exist`, {
      advice: 'Nothing was sent. Make the folder.',
    });
  const isOwn = path === join(dirname(contextsPath()), `${name}.token`);
  if (context.token_file === undefined || isOwn || !(await exists(path))) return;
  await confirm(`${path} has a token that may be in no other place. Replace it?`, yes);
}

async function storeToken(
  name: string,
  { server, token_file: fileBefore }: SavedContext,
  path: string,
  { token, token_id: id }: ConfirmedLogin,
): Promise<void> {
  try {
    // A token goes to its own server only.
    const isSame = ({ contexts }: Awaited<ReturnType<typeof readContexts>>): boolean =>
      Object.hasOwn(contexts, name) && contexts[name]?.server === server && contexts[name].token_file === fileBefore;
    const requireSame = (saved: Awaited<ReturnType<typeof readContexts>>): void => {
      if (!isSame(saved)) throw new Failure(`the context ${name} was changed while the login waited`);
    };
    requireSame(await readContexts());
    await replaceFile(path, `${token}\n`);
    if (fileBefore !== undefined) return;
    await changeContexts((saved) => {
      requireSame(saved);
      return { ...saved, contexts: { ...saved.contexts, [name]: { ...contextNamed(saved, name), token_file: path } } };
    });
  } catch (error) {
    const { message } = systemFailure(`cannot write ${path}`, error);
    throw new Failure(`${message}; token ${id} was made, and the context does not use it`, {
      cause: error,
      advice: 'Revoke it in the console, on the page of API tokens. Then begin again.',
    });
  }
}

/** Of this machine, in the characters that a server shows to a person. */
function machineName(): string {
  const name = hostname()
    .replaceAll(/[^\w.-]/g, '-')
    .slice(0, MAX_MACHINE);
  return name === '' ? 'unknown' : name;
}
