/**
 * The registry on which a command works: that of this machine, or a remote one over its API.
 * Nothing is sent before the place is certain, and a token is sent to its own server only.
 */

import { createSecureContext } from 'node:tls';
import type { RemoteOperations } from '@latchkey/api/client';
import { parsePin, parseTarget, PIN_SYNTAX, TARGET_SYNTAX } from '@latchkey/api/target';
import { parseKeyPair } from '@latchkey/provisioning';
import { markElsewhere, repeatInAdvice } from '@latchkey/runtime/cli';
import { environment } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { readPlainFile, readSecretFile } from '@latchkey/runtime/files';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { contextNamed, readContexts, type SavedContext } from './contexts-file.js';

/** A registry elsewhere, with the credentials of both sides. */
export interface RemotePlace {
  /** For a person: the context, and its server. */
  readonly name: string;
  readonly connection: ConstructorParameters<typeof RemoteOperations>[0];
}

const SERVER_VARIABLE = 'LATCHKEY_SERVER';
const TOKEN_VARIABLE = 'LATCHKEY_TOKEN_FILE';
const TOKEN = /^[!-~]{1,200}$/;

const HELP = `
Which registry:
  --data, --server or --context on the command line; else LATCHKEY_SERVER or LATCHKEY_DATA in the
  environment, of which one may be set; else the context in use (latchkey-auth-server context use).
  LATCHKEY_TOKEN_FILE is the token for LATCHKEY_SERVER and for no other server.`;

/**
 * Adds the options that name a registry elsewhere.
 *
 * @param takesServer false where `--server` means something else: there --context names the place
 */
export function placeOptions(command: Command, takesServer: boolean): Command {
  if (takesServer) command.addOption(repeatInAdvice(serverOption().env(SERVER_VARIABLE)));
  for (const option of [
    contextOption(),
    tokenFileOption().env(TOKEN_VARIABLE),
    caFileOption(),
    pinOption(),
    clientCertOption(),
    clientKeyOption(),
    identityFileOption(),
  ])
    command.addOption(repeatInAdvice(option));
  return command.addHelpText('after', HELP).hook('preAction', async () => {
    const place = await findPlace(command, takesServer);
    if (place === undefined) return;
    markElsewhere(command);
    command.setOptionValue('place', place);
  });
}

export function serverOption(): Option {
  return new Option('--server <url>', `the API of a registry elsewhere: ${TARGET_SYNTAX}`).argParser(serverArgument);
}

function contextOption(): Option {
  return new Option('--context <name>', 'a registry elsewhere, by the name that `context add` gave it');
}

export function tokenFileOption(): Option {
  return new Option('--token-file <file>', 'mode 0600: the token, as `token create` wrote it');
}

export function caFileOption(): Option {
  return new Option('--ca-file <file>', 'PEM: authorities that the certificate of the server may be of');
}

export function pinOption(): Option {
  return new Option('--pin <pin>', `the key of the server, whatever its authority: ${PIN_SYNTAX}`).argParser((text) => {
    if (parsePin(text) === undefined) throw new InvalidArgumentError(`expected ${PIN_SYNTAX}`);
    return text;
  });
}

export function clientCertOption(): Option {
  return new Option('--client-cert <file>', 'PEM: certificate of this client with its chain, if the server asks for one');
}

export function clientKeyOption(): Option {
  return new Option('--client-key <file>', 'mode 0600, PEM: the key of --client-cert');
}

export function identityFileOption(): Option {
  return new Option(
    '--identity-file <file>',
    'mode 0600: an age identity that opens files with keys; its recipient is one of the token (default: one is made for each file)',
  );
}

function serverArgument(text: string): string {
  if (parseTarget(text) === undefined) throw new InvalidArgumentError(`expected ${TARGET_SYNTAX}`);
  return text;
}

/** Options of a registry on this machine. */
const LOCAL_OPTIONS: ReadonlySet<string> = new Set(['data', 'localData', 'config', 'masterKeyFile', 'masterKeyCommand']);

/** Credentials of both sides. */
type Proofs = Omit<SavedContext, 'server'>;

/** What the command line says of the place. */
interface GivenPlace {
  readonly server: string | undefined;
  readonly context: string | undefined;
  readonly hasData: boolean;
  /** The first option of a registry on this machine. */
  readonly localOption: string | undefined;
  readonly proofs: Proofs;
}

function givenPlace(command: Command, takesServer: boolean): GivenPlace {
  const given = (name: string): string | undefined =>
    command.getOptionValueSource(name) === 'cli' ? (command.getOptionValue(name) as string) : undefined;
  const local = command.options.find((option) => {
    const name = option.attributeName();
    return LOCAL_OPTIONS.has(name) && given(name) !== undefined;
  });
  return {
    server: takesServer ? given('server') : undefined,
    context: given('context'),
    hasData: given('data') !== undefined,
    localOption: local?.long ?? undefined,
    proofs: {
      token_file: given('tokenFile'),
      ca_file: given('caFile'),
      pin: given('pin'),
      client_cert: given('clientCert'),
      client_key: given('clientKey'),
      identity_file: given('identityFile'),
    },
  };
}

/** A registry elsewhere. */
interface NamedPlace extends SavedContext {
  /** Name of the context, if one names it. */
  readonly context?: string;
  /** For a person: the context, and its server. */
  readonly name: string;
  /** What names it, in messages. */
  readonly by: string;
  /** What names the file of its token. */
  readonly tokenBy: string;
}

/** Returns `undefined` for the registry of this machine. */
async function findPlace(command: Command, takesServer: boolean): Promise<RemotePlace | undefined> {
  const given = givenPlace(command, takesServer);
  const named = await namedPlace(given, takesServer);
  const { localOption, proofs } = given;
  if (named === undefined) {
    refuseProofs(proofs);
    return undefined;
  }
  if (localOption !== undefined)
    throw new UsageFailure(`${localOption} is of a registry on this machine, and ${named.by} names one elsewhere`, {
      advice: 'Nothing was sent. Say one of them.',
    });
  return openPlace(named);
}

/**
 * What the command line says is stronger than the environment, and that than the context in use.
 */
async function namedPlace(
  { server, context, hasData, proofs }: GivenPlace,
  takesServer: boolean,
): Promise<NamedPlace | undefined> {
  if (server !== undefined && context !== undefined)
    throw new UsageFailure('--server and --context name a registry each', { advice: 'Nothing was sent. Say one of them.' });
  if (server !== undefined) return { ...proofs, server, name: server, by: '--server', tokenBy: '--token-file' };
  if (context !== undefined) return placeOfContext(context, contextNamed(await readContexts(), context), proofs, '--context');
  if (hasData) return undefined;
  const [fromEnvironment, data] = [environment(SERVER_VARIABLE), environment('LATCHKEY_DATA')];
  if (fromEnvironment !== undefined && data !== undefined)
    throw new UsageFailure(`${SERVER_VARIABLE} and LATCHKEY_DATA are both set`, {
      advice: 'Nothing was done. Unset one of them, or say --data, --server or --context.',
    });
  if (fromEnvironment !== undefined) {
    const tokenBy = proofs.token_file === undefined ? TOKEN_VARIABLE : '--token-file';
    const token_file = proofs.token_file ?? environment(TOKEN_VARIABLE);
    return { ...proofs, token_file, server: fromEnvironment, name: fromEnvironment, by: SERVER_VARIABLE, tokenBy };
  }
  if (data !== undefined) return undefined;
  const saved = await readContexts();
  if (saved.current !== null)
    return placeOfContext(saved.current, contextNamed(saved, saved.current), proofs, `the context ${saved.current}`);
  throw new UsageFailure('no registry is named', {
    advice: `Name that of this machine with --data, or one elsewhere with --context or ${takesServer ? '--server' : SERVER_VARIABLE}.`,
  });
}

/** Options of the command line override what was saved. */
function placeOfContext(name: string, saved: SavedContext, proofs: Proofs, by: string): NamedPlace {
  return {
    server: saved.server,
    token_file: proofs.token_file ?? saved.token_file,
    ca_file: proofs.ca_file ?? saved.ca_file,
    pin: proofs.pin ?? saved.pin,
    client_cert: proofs.client_cert ?? saved.client_cert,
    client_key: proofs.client_key ?? saved.client_key,
    identity_file: proofs.identity_file ?? saved.identity_file,
    context: name,
    name: `${name}, ${saved.server}`,
    by,
    tokenBy: proofs.token_file === undefined ? `the context ${name}` : '--token-file',
  };
}

function refuseProofs(proofs: Proofs): void {
  const options = [
    ['--token-file', proofs.token_file],
    ['--ca-file', proofs.ca_file],
    ['--pin', proofs.pin],
    ['--client-cert', proofs.client_cert],
    ['--client-key', proofs.client_key],
    ['--identity-file', proofs.identity_file],
  ] as const;
  const [option] = options.find(([, value]) => value !== undefined) ?? [];
  if (option === undefined) return;
  throw new UsageFailure(`${option} is of a registry elsewhere, and that of this machine is named`, {
    advice: 'Nothing was done. Leave it out, or name the other one with --server or --context.',
  });
}

/** Server, and what proves to each side that the other one is the right one. */
type ServerConnection = Pick<RemotePlace['connection'], 'target' | 'ca' | 'pin' | 'clientCertificate'>;

/**
 * Reads the files of the authorities and of the client's certificate.
 *
 * @param place `by` names it, in messages
 */
export async function openServer({
  server,
  by,
  ca_file: caFile,
  pin: pinText,
  client_cert: clientCert,
  client_key: clientKey,
}: SavedContext & Pick<NamedPlace, 'by'>): Promise<ServerConnection> {
  const target = parseTarget(server);
  if (target === undefined) throw new UsageFailure(`${by}: expected ${TARGET_SYNTAX}`);
  const pin = pinText === undefined ? undefined : parsePin(pinText);
  if (pin === undefined && pinText !== undefined) throw new UsageFailure(`${by}: expected for the pin ${PIN_SYNTAX}`);
  const ca = caFile === undefined ? undefined : await readCertificates(caFile);
  return { target, pin, ca, clientCertificate: await readClientCertificate(clientCert, clientKey) };
}

/**
 * Returns `undefined` if neither file is named.
 *
 * @throws UsageFailure if only one is named, or they do not belong together
 */
export async function readClientCertificate(
  certFile: string | undefined,
  keyFile: string | undefined,
): Promise<{ readonly cert: string; readonly key: string } | undefined> {
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined)
    throw new UsageFailure(`--client-${certFile === undefined ? 'cert' : 'key'} is missing`, {
      advice: 'Nothing was sent. Name both: a certificate, and its key.',
    });
  const pair = { cert: await readCertificates(certFile), key: await readSecretFile(keyFile, '--client-key') };
  try {
    createSecureContext(pair);
  } catch (error) {
    throw new UsageFailure(`${certFile} and ${keyFile} are not a certificate and its key in PEM`, {
      cause: error,
      advice: 'Nothing was sent. The key has no passphrase.',
    });
  }
  return pair;
}

/** Reads the files of the token, the authorities and the certificate. */
async function openPlace(place: NamedPlace): Promise<RemotePlace> {
  const { server, name, context, tokenBy, token_file: tokenFile, identity_file: identityFile } = place;
  const connection = await openServer(place);
  const token = tokenFile === undefined ? undefined : (await readSecretFile(tokenFile, tokenBy)).trim();
  if (token !== undefined && !TOKEN.test(token))
    throw new UsageFailure(`the file that ${tokenBy} names has no token in it`, {
      advice: 'It has one line, as `latchkey-auth-server token create` wrote it.',
    });
  if (token === undefined && connection.target.kind === 'https')
    throw new UsageFailure(
      `the token for ${server} is missing`,
      context === undefined
        ? {
            advice: 'Name its file with --token-file. On the machine of the registry: latchkey-auth-server token create --help',
          }
        : { advice: 'Name its file with --token-file, or sign in:', run: [loginLine(context)] },
    );
  const keyPair =
    identityFile === undefined
      ? undefined
      : await parseKeyPair(await readSecretFile(identityFile, '--identity-file'), identityFile);
  return { name, connection: { ...connection, token, keyPair } };
}

/** Signs in at the server of a context. */
export function loginLine(context: string): readonly string[] {
  return ['latchkey-auth-server', 'login', '--context', context];
}

/**
 * Reads a file in PEM.
 *
 * @throws UsageFailure where it has no certificate
 */
export async function readCertificates(path: string): Promise<string> {
  const text = await readPlainFile(path);
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new UsageFailure(`${path}: expected a certificate in PEM`, { advice: 'It begins with -----BEGIN CERTIFICATE-----.' });
}
