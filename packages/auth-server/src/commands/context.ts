import { resolve } from 'node:path';
import { parseTarget } from '@latchkey/api/target';
import { formatCommandLine, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { readSecretFile } from '@latchkey/runtime/files';
import { Command, InvalidArgumentError } from 'commander';
import { changeContexts, contextNamed, type Contexts, contextsPath, readContexts } from './contexts-file.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import {
  caFileOption,
  clientCertOption,
  clientKeyOption,
  identityFileOption,
  loginLine,
  pinOption,
  readCertificates,
  readClientCertificate,
  serverOption,
  tokenFileOption,
} from './place-options.js';

const ADD =
  'latchkey-auth-server context add plant --server https://plant.example:8443 --token-file plant.token --ca-file plant-ca.pem';

export function contextCommand(): Command {
  const command = new Command('context')
    .description('registries elsewhere, by name: commands work on the one in use')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(useCommand())
    .addCommand(removeCommand());
  return withExamples(command, ADD, 'latchkey-auth-server context use plant');
}

interface AddOptions {
  readonly server: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  readonly pin?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  readonly identityFile?: string;
}

function addCommand(): Command {
  const command = new Command('add')
    .description('name a registry elsewhere; the first one is in use from then on')
    .argument('<name>', 'for --context and `context use`', nameArgument)
    .addOption(serverOption().makeOptionMandatory())
    .addOption(tokenFileOption())
    .addOption(caFileOption())
    .addOption(pinOption())
    .addOption(clientCertOption())
    .addOption(clientKeyOption())
    .addOption(identityFileOption())
    .action(add);
  return withExamples(command, ADD, 'latchkey-auth-server context add here --server unix:/run/latchkey/auth-server-api/api.sock');
}

async function add(
  name: string,
  { server, tokenFile, caFile, pin, clientCert, clientKey, identityFile }: AddOptions,
): Promise<void> {
  refuseTaken(await readContexts(), name);
  // A context that cannot work is useless, so its faults are reported here.
  if (tokenFile !== undefined) await readSecretFile(tokenFile, '--token-file');
  if (caFile !== undefined) await readCertificates(caFile);
  await readClientCertificate(clientCert, clientKey);
  if (identityFile !== undefined) await readSecretFile(identityFile, '--identity-file');
  const context = {
    server,
    token_file: tokenFile === undefined ? undefined : resolve(tokenFile),
    ca_file: caFile === undefined ? undefined : resolve(caFile),
    pin,
    client_cert: clientCert === undefined ? undefined : resolve(clientCert),
    client_key: clientKey === undefined ? undefined : resolve(clientKey),
    identity_file: identityFile === undefined ? undefined : resolve(identityFile),
  };
  const { current } = await changeContexts((saved) => {
    refuseTaken(saved, name);
    return { current: saved.current ?? name, contexts: { ...saved.contexts, [name]: context } };
  });
  process.stdout.write(`Context ${name} is in ${contextsPath()}${current === null ? ', and in use' : ''}\n`);
  // On this machine the kernel says who calls.
  if (tokenFile === undefined && parseTarget(server)?.kind === 'https')
    process.stdout.write(`It has no token yet. Sign in:\n  ${formatCommandLine(loginLine(name))}\n`);
}

function refuseTaken({ contexts }: Contexts, name: string): void {
  if (!Object.hasOwn(contexts, name)) return;
  throw new UsageFailure(`there is a context ${name} already`, {
    advice: 'Nothing was changed. Choose another name, or remove it first:',
    run: [['latchkey-auth-server', 'context', 'remove', name]],
  });
}

interface ContextView {
  readonly name: string;
  readonly in_use: boolean;
  readonly server: string;
  readonly token_file: string | null;
  readonly ca_file: string | null;
  readonly pin: string | null;
  readonly client_cert: string | null;
  readonly client_key: string | null;
  readonly identity_file: string | null;
}

const COLUMNS: readonly Column<ContextView>[] = [
  { name: 'name', heading: 'NAME', value: ({ name }) => name },
  { name: 'in-use', heading: 'IN USE', value: ({ in_use: isInUse }) => isInUse },
  { name: 'server', heading: 'SERVER', value: ({ server }) => server },
  { name: 'token-file', heading: 'TOKEN FILE', value: ({ token_file: path }) => path },
  { name: 'ca-file', heading: 'CA FILE', value: ({ ca_file: path }) => path, unlessEmpty: true },
  { name: 'pin', heading: 'PIN', value: ({ pin }) => pin, unlessEmpty: true },
  { name: 'client-cert', heading: 'CLIENT CERT', value: ({ client_cert: path }) => path, unlessEmpty: true },
  { name: 'client-key', heading: 'CLIENT KEY', value: ({ client_key: path }) => path, unlessEmpty: true },
  { name: 'identity-file', heading: 'IDENTITY FILE', value: ({ identity_file: path }) => path, unlessEmpty: true },
];

function listCommand(): Command {
  const command = new Command('list').description('list the contexts');
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(command, 'latchkey-auth-server context list');
}

async function list(options: ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  const { current, contexts } = await readContexts();
  const views = Object.entries(contexts).map(([name, context]): ContextView => ({
    name,
    in_use: name === current,
    server: context.server,
    token_file: context.token_file ?? null,
    ca_file: context.ca_file ?? null,
    pin: context.pin ?? null,
    client_cert: context.client_cert ?? null,
    client_key: context.client_key ?? null,
    identity_file: context.identity_file ?? null,
  }));
  await output.print(views);
}

function useCommand(): Command {
  const command = new Command('use')
    .description('have commands that name no registry work on this one; without a name, on none')
    .argument('[name]', 'as `context list` shows it')
    .action(use);
  return withExamples(command, 'latchkey-auth-server context use plant', 'latchkey-auth-server context use');
}

async function use(name: string | undefined): Promise<void> {
  const server = name === undefined ? undefined : contextNamed(await readContexts(), name).server;
  await changeContexts((saved) => {
    if (name !== undefined) contextNamed(saved, name);
    return { ...saved, current: name ?? null };
  });
  process.stdout.write(name === undefined ? 'No context is in use\n' : `Context ${name} is in use: ${server}\n`);
}

function removeCommand(): Command {
  const command = new Command('remove')
    .description('forget a context; the file of its token stays')
    .argument('<name>', 'as `context list` shows it')
    .action(remove);
  return withExamples(command, 'latchkey-auth-server context remove plant');
}

async function remove(name: string): Promise<void> {
  contextNamed(await readContexts(), name);
  const { current } = await changeContexts((saved) => {
    contextNamed(saved, name);
    const contexts: Contexts['contexts'] = Object.fromEntries(Object.entries(saved.contexts).filter(([one]) => one !== name));
    return { current: saved.current === name ? null : saved.current, contexts };
  });
  process.stdout.write(`Context ${name} is removed${current === name ? ', and none is in use' : ''}\n`);
}

function nameArgument(text: string): string {
  if (!/^[a-z0-9][\w.-]{0,63}$/i.test(text))
    throw new InvalidArgumentError('expected letters, digits, dots and dashes, 64 at most');
  return text;
}
