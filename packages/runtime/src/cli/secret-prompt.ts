/**
 * A secret that a person types, or a scanner that acts as a keyboard: the terminal does not show
 * it.
 */

import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { Failure, UsageFailure } from '../failure.js';
import { readStandardInput } from '../files/files.js';

/**
 * Returns the line that is typed after `prompt`. Standard input must be a terminal; otherwise use
 * `readStandardInput`.
 *
 * @param what names the secret, for the message if nothing is typed
 */
export async function promptSecret(prompt: string, what: string): Promise<string> {
  const discard = new Writable({ write: (_chunk, _encoding, done) => done() });
  // This turns the terminal's echo off, so it comes before the prompt.
  const lines = createInterface({ input: process.stdin, output: discard, terminal: true, historySize: 0 });
  process.stderr.write(`${prompt} `);
  try {
    return await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('SIGINT', () => reject(new Failure('interrupted')));
      lines.once('close', () => reject(new UsageFailure(`expected ${what}, and nothing was typed`)));
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

/**
 * A secret from standard input: a line that is typed where that is a terminal, all of it where it
 * is not.
 */
export function readSecretInput(prompt: string, what: string): Promise<string> {
  return process.stdin.isTTY ? promptSecret(prompt, what) : readStandardInput();
}
