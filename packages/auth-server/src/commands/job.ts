import { openJobStore } from '@latchkey/api/jobs';
import { type JobSource, jobsCancel, jobsList, jobsShow } from '@latchkey/operations';
import { JOB_ID, type JobView } from '@latchkey/operations/contract';
import { commandToRun, formatFields, parseCommandLine, withExamples } from '@latchkey/runtime/cli';
import { Command, InvalidArgumentError } from 'commander';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { call, type CommandContext, withOperations } from './operation-call.js';
import { operationOptions, printJson, type RegistryOptions } from './registry-command.js';

const SCOPE = `
Over the API these are the jobs of the caller. On the machine of the API they are those of all.`;

export function jobCommand(): Command {
  return new Command('job')
    .description('work of the management API that takes long: how far it is, and what came of it')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(cancelCommand());
}

const COLUMNS: readonly Column<JobView>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'kind', heading: 'KIND', value: ({ kind }) => kind },
  { name: 'by', heading: 'BY', value: ({ by }) => by },
  { name: 'state', heading: 'STATE', value: ({ state }) => state },
  { name: 'done', heading: 'DONE', value: ({ done }) => done },
  { name: 'total', heading: 'OF', value: ({ total }) => total },
  { name: 'began', heading: 'BEGAN', value: ({ created_at: at }) => at, isTime: true },
  { name: 'ended', heading: 'ENDED', value: ({ finished_at: at }) => at, isTime: true },
  { name: 'problem', heading: 'PROBLEM', value: ({ problem }) => problem?.detail ?? problem?.title, unlessEmpty: true },
];

function listCommand(): Command {
  const command = operationOptions(new Command('list').description('list jobs, latest first'));
  listOptions(command, COLUMNS, 'as a JSON array, one job a line').addHelpText('after', SCOPE).action(list);
  return withExamples(
    command,
    'latchkey-auth-server job list --server https://plant.example:8443 --token-file plant.token',
    'latchkey-auth-server job list --data ./data --sort state',
  );
}

async function list(options: RegistryOptions & ListOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withJobs(options, async (context) => output.print((await call(jobsList, context, {})).items));
}

function showCommand(): Command {
  const command = new Command('show').description('show one job');
  return withExamples(
    oneJobOptions(command).action(show),
    'latchkey-auth-server job show Zm9vYmFyYmF6cXV4 --server https://plant.example:8443 --token-file plant.token',
    'latchkey-auth-server job show Zm9vYmFyYmF6cXV4 --data ./data --json',
  );
}

function oneJobOptions(command: Command): Command {
  return operationOptions(command)
    .argument('<id>', 'as `job list` shows it', idArgument)
    .option('--json', 'as a JSON object')
    .addHelpText('after', SCOPE);
}

type OneOptions = RegistryOptions & { readonly json?: true };

async function show(job: string, options: OneOptions, command: Command): Promise<void> {
  await withJobs(options, async (context) => {
    const view = await call(jobsShow, context, { job });
    if (options.json === true) return printJson(view);
    const { problem, audit_from: auditFrom } = view;
    process.stdout.write(
      formatFields({
        job: view.id,
        kind: view.kind,
        by: view.by,
        state: view.state,
        done: `${view.done} of ${view.total}`,
        began: view.created_at,
        ended: view.finished_at ?? undefined,
        result: view.result === null ? undefined : JSON.stringify(view.result),
        problem: problem === null ? undefined : (problem.detail ?? problem.title),
        advice: problem?.advice,
        'audit log': auditFrom === null ? undefined : `entry ${auditFrom} is the first that may be of it`,
      }),
    );
    const entries = ['latchkey-auth-server', 'audit', 'list', '--from', String(auditFrom), '--limit', '10'];
    const lines = [...(problem?.run ?? []).map(parseCommandLine), ...(auditFrom === null ? [] : [entries])];
    for (const line of lines) process.stdout.write(`${commandToRun(line, command)}\n`);
    return undefined;
  });
}

function cancelCommand(): Command {
  const command = new Command('cancel').description('end a job after the part that is under way; what was done stays done');
  return withExamples(
    oneJobOptions(command).action(cancel),
    'latchkey-auth-server job cancel Zm9vYmFyYmF6cXV4 --server https://plant.example:8443 --token-file plant.token',
    'latchkey-auth-server job cancel Zm9vYmFyYmF6cXV4 --data ./data',
  );
}

async function cancel(job: string, options: OneOptions): Promise<void> {
  await withJobs(options, async (context) => {
    const view = await call(jobsCancel, context, { job });
    if (options.json === true) return printJson(view);
    const { state, done, total } = view;
    process.stdout.write(
      state === 'cancelled' ? `Job ${job} is cancelled after ${done} of ${total}\n` : `Job ${job} ended before that: ${state}\n`,
    );
    return undefined;
  });
}

/** Elsewhere the API has the jobs; here they are read from its store. */
async function withJobs<T>(
  options: RegistryOptions,
  use: (context: CommandContext & { readonly jobs: JobSource }) => Promise<T>,
): Promise<T> {
  return withOperations(options, async (context) => {
    if (context.place.kind === 'elsewhere') return use(context as CommandContext & { readonly jobs: JobSource });
    const jobs = await openJobStore(context.place.context.registry.folder);
    try {
      return await use({ ...context, jobs });
    } finally {
      await jobs.close();
    }
  });
}

function idArgument(text: string): string {
  if (!JOB_ID.test(text)) throw new InvalidArgumentError('expected the 16 characters that `job list` shows');
  return text;
}
