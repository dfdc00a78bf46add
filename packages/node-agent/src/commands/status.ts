import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { NodeFile } from '../node-file.js';
import { CumulativeUptime } from '../cumulative-uptime.js';
import { stateOption } from './state.js';

export function statusCommand(): Command {
  const command = new Command('status')
    .description('show the state of this node, never a key')
    .addOption(stateOption())
    .option('--json', 'as a JSON object')
    .action(status);
  return withExamples(
    command,
    'latchkey-node-agent status --state ./node',
    'latchkey-node-agent status --state ./node --json | jq -r .status',
  );
}

async function status({ state, json }: { state: string; json?: true }): Promise<void> {
  const { hasDeviceKey } = await import('../device-key.js');
  const deviceKeyHere = await hasDeviceKey(state);
  if (deviceKeyHere && !(await NodeFile.isInstalled(state))) {
    const provisioned = { status: 'provisioned', device_key_here: true };
    process.stdout.write(
      json === true
        ? `${JSON.stringify(provisioned, null, 2)}\n`
        : 'status  provisioned: a device key is here, and no node is installed\n',
    );
    return;
  }
  const { record } = await NodeFile.open(state);
  // The library that aligns columns takes as long to load as the rest of a daemon's start.
  const { statusJson, statusText } = await import('../status.js');
  const now = new CumulativeUptime(record.powered).clocks();
  process.stdout.write(json === true ? statusJson(record, now, deviceKeyHere) : statusText(record, now, deviceKeyHere));
}
