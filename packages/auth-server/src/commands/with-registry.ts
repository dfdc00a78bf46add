import { Option } from 'commander';
import { Registry } from '../registry.js';

/** Every command names the folder of the registry, or the environment does. */
export function dataOption(): Option {
  return new Option('--data <dir>', 'folder of the registry').env('LATCHKEY_DATA').makeOptionMandatory();
}

/** Opens the registry for one command, beside a server that may be running on it. */
export async function withRegistry<T>(folder: string, use: (registry: Registry) => T | Promise<T>): Promise<T> {
  const registry = await Registry.open(folder);
  try {
    return await use(registry);
  } finally {
    await registry.close();
  }
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** A JSON array with one element a line, written as it is read: a registry may hold a million. */
export function printJsonList(values: Iterable<unknown>): void {
  let separator = '[\n';
  for (const value of values) {
    process.stdout.write(`${separator}${JSON.stringify(value)}`);
    separator = ',\n';
  }
  process.stdout.write(separator === '[\n' ? '[]\n' : '\n]\n');
}
