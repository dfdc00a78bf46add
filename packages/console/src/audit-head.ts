/** Heads of the audit log as people keep them: `SEQ:HASH`, alone or in the output of a command. */

const HEAD = /^\d{1,16}:[0-9a-f]{64}$/;
const IN_TEXT = /(?<![0-9a-f:])\d{1,16}:[0-9a-f]{64}(?![0-9a-f])/g;

export function isHead(text: string): boolean {
  return HEAD.test(text);
}

/** Returns the last head in a text: of several the latest one says most. */
export function findHead(text: string): string | undefined {
  return text.match(IN_TEXT)?.at(-1);
}
