import { access, constants, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { isTaken } from '@latchkey/runtime/files';
import { formatFields, peerArgument, withExamples } from '@latchkey/runtime/cli';
import { systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { type Credential, writeCredential } from '@latchkey/provisioning';
import { Command } from 'commander';
import {
  controllersAdd,
  controllersList,
  controllersRemove,
  controllersRotate,
  controllersShow,
  TAKE_UP_CREDENTIAL,
} from '@latchkey/operations';
import type { ControllerView } from '@latchkey/operations/contract';
import {
  controllerOf,
  descriptionFrom,
  type DescriptionOptions,
  descriptionOptions,
  serverOption,
} from './controller-options.js';
import { setCommand } from './controller-set.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { confirm, operationOptions, pluralize, printJson, type RegistryOptions, yesOption } from './registry-command.js';
import { call, withOperations } from './operation-call.js';

export function controllerCommand(): Command {
  return new Command('controller')
    .description('the controllers that may ask this server')
    .addCommand(addCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(setCommand())
    .addCommand(rotateCommand())
    .addCommand(removeCommand());
}

interface AddOptions extends RegistryOptions, DescriptionOptions {
  readonly nid: Endpoint;
  readonly server?: readonly Endpoint[];
  readonly out: string;
  readonly passThrough?: true;
}

function addCommand(): Command {
  const command = controllerOf(
    new Command('add').description('add a controller and write its credential, a JSON file for it alone'),
    false,
  )
    .requiredOption('--nid <host:port>', 'where nodes reach it', peerArgument)
    .addOption(serverOption())
    .option(
      '--pass-through',
      'it gets no key of a node, and relays what it cannot open (default: it gets them, as the draft has it)',
    )
    .requiredOption('--out <file>', 'the credential; must not exist');
  descriptionOptions(command).action(add);
  return withExamples(
    command,
    'latchkey-auth-server controller add 00000001 --data ./data --nid 192.0.2.1:5683 --server 192.0.2.7:5693 --out controller-1.json',
  );
}

async function add(idC: number, { nid, server = [], out, passThrough, ...options }: AddOptions): Promise<void> {
  const id = formatId(idC);
  await requireFree(out);
  await withOperations(options, (context) =>
    call(
      controllersAdd,
      { ...context, handOver: (credential, change) => writeCredentialThen(out, credential, change) },
      {
        id,
        nid: formatEndpoint(nid),
        servers: server.map(formatEndpoint),
        pass_through: passThrough === true,
        ...descriptionFrom(options),
      },
    ),
  );
  process.stdout.write(`Controller ${id} is in the registry; its credential is in ${out}\n`);
}

/** Before anything is changed, here or elsewhere. */
async function requireFree(out: string): Promise<void> {
  if (await isTaken(out))
    throw new UsageFailure(`${out} exists already`, { advice: 'Nothing was changed. Choose another name.' });
  await access(dirname(out), constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw systemFailure(`cannot write ${out}`, error);
  });
}

/** Writes a credential, then changes the registry. Deletes the file if that change fails. */
async function writeCredentialThen(out: string, credential: Credential, change: () => Promise<void>): Promise<void> {
  await writeCredential(out, credential);
  try {
    await change();
  } catch (error) {
    await rm(out);
    throw error;
  }
}

function rotateCommand(): Command {
  const command = controllerOf(
    new Command('rotate').description(
      'write a credential with another SK_cs; the old one counts until the controller uses the new one',
    ),
  )
    .requiredOption('--out <file>', 'the credential; must not exist')
    .action(rotate);
  return withExamples(
    command,
    'latchkey-auth-server controller rotate 00000001 --data ./data --out controller-1-new.json',
    '# then put the file in the place of the old credential, and: systemctl restart latchkey-controller',
  );
}

async function rotate(idC: number, { out, ...options }: RegistryOptions & { readonly out: string }): Promise<void> {
  const id = formatId(idC);
  await requireFree(out);
  const { discarded_key: discarded } = await withOperations(options, (context) =>
    call(
      controllersRotate,
      { ...context, handOver: (credential, change) => writeCredentialThen(out, credential, change) },
      { id },
    ),
  );
  if (discarded !== null)
    process.stdout.write(`The key that was staged before, [secret ${discarded}], was never used and is worth nothing now.\n`);
  process.stdout.write(
    `The next credential of controller ${id} is in ${out}.\n` +
      `Put it in the place of the old one. ${TAKE_UP_CREDENTIAL} With its first request the old SK_cs is erased.\n`,
  );
}

function removeCommand(): Command {
  const command = controllerOf(new Command('remove').description('remove a controller that has no nodes'))
    .addOption(yesOption())
    .action(remove);
  return withExamples(command, 'latchkey-auth-server controller remove 00000001 --data ./data --yes');
}

async function remove(idC: number, options: RegistryOptions & { readonly yes?: true }): Promise<void> {
  const id = formatId(idC);
  const approve = (): Promise<void> => confirm(`Remove controller ${id}? Its credential is worth nothing then.`, options.yes);
  await withOperations(options, (context) => call(controllersRemove, { ...context, approve }, { id }));
  process.stdout.write(`Controller ${id} is removed\n`);
}

const COLUMNS: readonly Column<ControllerView>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'name', heading: 'NAME', value: ({ name }) => name, unlessEmpty: true },
  { name: 'site', heading: 'SITE', value: ({ site }) => site, unlessEmpty: true },
  { name: 'contact', heading: 'CONTACT', value: ({ contact }) => contact, onDemand: true },
  { name: 'nid', heading: 'NODES REACH IT AT', value: ({ nid }) => nid },
  { name: 'servers', heading: 'SERVERS', value: ({ servers }) => servers },
  {
    name: 'key',
    heading: 'SK_CS',
    value: ({ key }) => key,
    text: ({ key, staged_key: staged }) => (staged === null ? key : `${key}, staged ${staged}`),
  },
  { name: 'staged-key', heading: 'STAGED SK_CS', value: ({ staged_key: key }) => key, onDemand: true },
  { name: 'used-key', heading: 'USED SK_CS', value: ({ used_key: key }) => key, onDemand: true },
  { name: 'pass-through', heading: 'PASS-THROUGH', value: ({ pass_through: isOn }) => isOn },
  { name: 'added', heading: 'ADDED', value: ({ added_at: at }) => at, isTime: true, onDemand: true },
  { name: 'last-seen', heading: 'LAST SEEN', value: ({ last_seen_at: at }) => at, isTime: true, none: 'never' },
  { name: 'skew-ms', heading: 'CLOCK OFF BY (MS)', value: ({ clock_skew_ms: skew }) => skew, onDemand: true },
];

function listCommand(): Command {
  const command = operationOptions(new Command('list').description('list the controllers'));
  listOptions(command, COLUMNS, 'as a JSON array').action(list);
  return withExamples(
    command,
    'latchkey-auth-server controller list --data ./data',
    'latchkey-auth-server controller list --data ./data --json',
    'latchkey-auth-server controller list --data ./data --sort -last-seen --columns id,name,site,contact,last-seen',
  );
}

async function list(options: RegistryOptions & ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withOperations(options, async (context) => output.print((await call(controllersList, context, {})).items));
}

const PUT_STAGED = `Put the credential with it in the place of the old one. ${TAKE_UP_CREDENTIAL}`;

function showCommand(): Command {
  const command = controllerOf(new Command('show').description('show one controller, but not its key'))
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server controller show 00000001 --data ./data');
}

async function show(idC: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withOperations(options, async (context) => {
    const view = await call(controllersShow, context, { id: formatId(idC) });
    if (options.json === true) return printJson(view);
    const { authentication_failing_since: unopened, nodes, joined } = view;
    process.stdout.write(
      formatFields({
        id: view.id,
        name: view.name ?? undefined,
        site: view.site ?? undefined,
        contact: view.contact ?? undefined,
        'nodes reach it at': view.nid,
        servers: view.servers.join(', ') || 'none',
        SK_cs: `[secret ${view.key}]`,
        'staged SK_cs': view.staged_key === null ? undefined : `[secret ${view.staged_key}], not used yet. ${PUT_STAGED}`,
        'SK_cs used': keyUseOf(view),
        'pass-through': modeOf(view),
        added: view.added_at,
        'last seen': view.last_seen_at ?? 'never',
        'authentication fails': unopened === null ? undefined : `since ${unopened}: it has another SK_cs`,
        clock: clockOf(view),
        nodes: `${nodes}, of which ${joined} joined`,
      }),
    );
    return undefined;
  });
}

/** `undefined`: no request of it opened yet. */
function keyUseOf(view: ControllerView): string | undefined {
  const { key, used_key: used, used_key_since: since, used_key_requests: requests, used_key_ratio: ratio } = view;
  if (used === null || since === null || requests === null) return undefined;
  const percent = Math.floor((ratio ?? 0) * 100);
  return (
    `[secret ${used}]${used === key ? '' : ', one from before'}, for ${pluralize(requests, 'request')} since ${since}` +
    (percent === 0 ? '' : `: at least ${percent} % of what it may seal`)
  );
}

function modeOf({ pass_through: isOn, pass_through_switched_at: at }: ControllerView): string {
  return `${isOn ? 'on' : 'off'}${at === null ? '' : `, since ${at}`}`;
}

/** `undefined` if it is right, as far as the server has seen. */
function clockOf({ clock_skew_ms: skew, clock_skewed_since: since, clock_skewed_at: at }: ControllerView): string | undefined {
  if (skew === null) return undefined;
  const off = `${Math.round(Math.abs(skew) / 1000)} s ${skew < 0 ? 'behind' : 'ahead'}`;
  return `${off} since ${since ?? ''}, last seen at ${at ?? ''}`;
}
