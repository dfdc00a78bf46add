import { join } from 'node:path';
import { Option } from 'commander';

/** Every command names the controller's state folder, or the environment does. */
export function stateOption(): Option {
  return new Option('--state <dir>', "folder for the controller's serial numbers and its nodes' keys")
    .env('LATCHKEY_STATE')
    .makeOptionMandatory();
}

export function keyStorePath(state: string): string {
  return join(state, 'keys');
}
