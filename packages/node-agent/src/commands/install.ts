import { formatId, Secret } from '@latchkey/protocol';
import {
  type Endpoint,
  formatEndpoint,
  idArgument,
  lockFolder,
  MAX_MANIFEST,
  type ManifestLine,
  openFolder,
  parseManifest,
  peerArgument,
  readPrivateFile,
  readStandardInput,
  UsageFailure,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { NodeFile } from '../node-file.js';
import { stateOption } from './state.js';

/** 32 hex digits. */
const KEY = /^[0-9a-fA-F]{32}$/;
const NEVER_AN_ARGUMENT = 'An initial key is never an argument: others could read it.';

interface InstallOptions {
  readonly state: string;
  readonly id: number;
  readonly manifest?: string;
  readonly controller?: Endpoint;
  readonly controllerId?: number;
  readonly ikFile?: string;
  readonly replace?: true;
}

interface Installation extends Omit<ManifestLine, 'idC'> {
  readonly idC: number | undefined;
}

export function installCommand(): Command {
  const command = new Command('install')
    .description("put ID, controller and initial key into this device (the draft's step 3)")
    .addOption(stateOption())
    .requiredOption('--id <id>', 'ID_i, 8 hex digits', idArgument)
    .option('--manifest <file>', 'take the rest from its line in the manifest; - reads standard input')
    .option('--controller <host:port>', 'where its controller is', peerArgument)
    .option('--controller-id <id>', 'ID_c; without it the node is the first controller’s that proves the key', idArgument)
    .option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input')
    .option('--replace', 'give up the key of a node that is installed here')
    .action(install);
  return withExamples(
    command,
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --manifest manifest.csv --id 0000a1b2',
    'latchkey-node-agent install --state ./node --id 0000a1b2 --controller 192.0.2.1:5683 --controller-id 00000001 --ik-file -',
  );
}

async function install(options: InstallOptions): Promise<void> {
  const { idI, idC, controller, ik } =
    options.manifest === undefined ? await fromOptions(options) : await fromManifest(options, options.manifest);
  await openFolder(options.state);
  const lock = await lockFolder(options.state, 'latchkey-node-agent install');
  try {
    const state = {
      idI,
      controllers: idC === undefined ? ('any' as const) : [idC],
      confirmed: ik,
      initial: true,
      candidates: [],
    };
    const nothingYet = { membership: undefined, lastAttempt: undefined, powered: undefined, hookDue: false };
    await NodeFile.create(options.state, { state, endpoints: [controller], ...nothingYet }, options.replace === true);
  } finally {
    await lock.release();
  }
  const who = idC === undefined ? '' : ` ${formatId(idC)}`;
  process.stdout.write(
    `Node ${formatId(idI)} is installed with initial key ${String(ik)}; its controller${who} is at ${formatEndpoint(controller)}\n`,
  );
}

async function fromManifest(options: InstallOptions, path: string): Promise<Installation> {
  if (options.controller !== undefined || options.controllerId !== undefined || options.ikFile !== undefined) {
    throw new UsageFailure('--manifest tells controller and key already', {
      advice: 'Leave out --controller, --controller-id and --ik-file.',
    });
  }
  const text = path === '-' ? await readStandardInput(MAX_MANIFEST) : await readPrivateFile(path, MAX_MANIFEST);
  const name = path === '-' ? 'standard input' : path;
  const line = parseManifest(text, name).find(({ idI }) => idI === options.id);
  if (line === undefined)
    throw new UsageFailure(`${name} has no line for node ${formatId(options.id)}`, { advice: 'Check the ID on the label.' });
  return line;
}

async function fromOptions({ id, controller, controllerId, ikFile }: InstallOptions): Promise<Installation> {
  if (controller === undefined || ikFile === undefined) {
    throw new UsageFailure('expected --manifest, or both --controller and --ik-file', {
      advice: NEVER_AN_ARGUMENT,
    });
  }
  if (KEY.test(ikFile))
    throw new UsageFailure('--ik-file takes the name of a file, or -, not the key itself', { advice: NEVER_AN_ARGUMENT });
  const text = ikFile === '-' ? await readStandardInput() : await readPrivateFile(ikFile);
  if (!KEY.test(text.trim())) {
    throw new UsageFailure(`${ikFile === '-' ? 'standard input' : ikFile}: expected one key of 32 hex digits`);
  }
  return { idI: id, idC: controllerId, controller, ik: Secret.fromHex(text.trim()) };
}
