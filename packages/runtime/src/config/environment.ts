/**
 * Reads an environment variable. A variable that is set but empty counts as unset, as `NAME=` in a
 * unit or a script means.
 */
export function environment(name: string): string | undefined {
  const value = process.env[name];
  return value === '' ? undefined : value;
}
