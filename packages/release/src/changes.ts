/** What is changed in packages of others as they are bundled, so that a device starts sooner. Where one is written otherwise, the build fails. */

import { Failure } from '@latchkey/runtime';

interface Change {
  /** The end of its path. */
  readonly file: string;
  readonly what: RegExp;
  readonly by: string;
}

const CHANGES: readonly Change[] = [
  // @noble/ciphers looks up two octets of AES at once, in tables of 65,536 entries: 1.3 MB that are made as it is loaded, which takes a device longer
  // than all else it loads. One octet at a time takes 256 entries, is no slower once V8 has compiled it, and gives the same: its own comments say so,
  // and changes.test.ts holds it to that. The small tables are made there already:
  {
    file: '/@noble/ciphers/aes.js',
    what: /const T01 = new Uint32Array\(256 \* 256\);\s*const T23 = [^;]*;\s*const sbox2 = [^;]*;\s*for \(.*?\n {4}\}\n(?= {4}return \{ sbox, sbox2, T0, T1, T2, T3, T01, T23 \};)/s,
    by: 'const [T01, T23, sbox2] = [[T0, T1], [T2, T3], sbox];\n',
  },
  {
    file: '/@noble/ciphers/aes.js',
    what: /return \(T01\[\(\(s0 << 8\) & 0xff00\) \| \(\(s1 >>> 8\) & 0xff\)\] \^\s*T23\[\(\(s2 >>> 8\) & 0xff00\) \| \(\(s3 >>> 24\) & 0xff\)\]\);/,
    by: 'return T01[0][s0 & 0xff] ^ T01[1][(s1 >>> 8) & 0xff] ^ T23[0][(s2 >>> 16) & 0xff] ^ T23[1][s3 >>> 24];',
  },
  {
    file: '/@noble/ciphers/aes.js',
    what: /return \(sbox2\[\(s0 & 0xff\) \| \(s1 & 0xff00\)\] \|\s*\(sbox2\[\(\(s2 >>> 16\) & 0xff\) \| \(\(s3 >>> 16\) & 0xff00\)\] << 16\)\);/,
    by: 'return sbox2[s0 & 0xff] | (sbox2[(s1 >>> 8) & 0xff] << 8) | (sbox2[(s2 >>> 16) & 0xff] << 16) | (sbox2[s3 >>> 24] << 24);',
  },
  // Those to decrypt with, which CCM and CMAC never do: computing them is what V8 would start its optimising compiler for.
  {
    file: '/@noble/ciphers/aes.js',
    what: /const tableDecoding = (?:\/\* @__PURE__ \*\/ )?(genTtable\([^\n]*\));\n/,
    by: 'let decoding;\nconst tableDecoding = () => (decoding ??= $1);\n',
  },
  { file: '/@noble/ciphers/aes.js', what: / = tableDecoding;/g, by: ' = tableDecoding();' },
  // Node.js's own `assert` opens standard error and more, for a check that is not on the way.
  {
    file: '/sonic-boom/index.js',
    what: /const assert = (require\('(?:node:)?assert'\))/,
    by: 'const assert = (...all) => $1(...all)',
  },
  // The name that the package's index gives it.
  { file: '/coap/dist/lib/agent.js', what: /exports\.default = Agent;/, by: 'exports.default = exports.Agent = Agent;' },
  // There are no other threads.
  { file: '/pino/lib/tools.js', what: /const \{ isMainThread \} = require\('worker_threads'\)/, by: 'const isMainThread = true' },
];

/** For a bundler: the module, changed; `undefined` for one that stays as it is. */
export function changed(code: string, id: string): string | undefined {
  const changes = CHANGES.filter(({ file }) => id.endsWith(file));
  if (changes.length === 0) return undefined;
  return changes.reduce((text, { file, what, by }) => {
    const rest = text.replace(what, by);
    if (rest === text)
      throw new Failure(`${file} is written in another way`, { advice: 'Look at packages/release/src/changes.ts.' });
    return rest;
  }, code);
}
