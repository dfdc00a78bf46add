// Proves on a real disk that files with keys are private, and that a file is whole whenever its
// writer is killed.

import { spawnSync } from 'node:child_process';
import { chmod, chown, link, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Failure } from '../src/failure.js';
import {
  checkPrivateFile,
  createFile,
  exists,
  ensurePrivateFolder,
  isTaken,
  readOctets,
  readPlainFile,
  readPrivateFile,
  replaceFile,
} from '../src/files/files.js';
import { readSecretFile } from '../src/files/key-file.js';
import { Child, hasGcc, IS_ROOT, tempFolder, unprivileged, withoutLinks } from '@latchkey/test-support/fixtures';

async function modeOf(path: string): Promise<string> {
  return ((await stat(path)).mode & 0o777).toString(8);
}

describe('replaceFile', () => {
  it('makes a file of mode 0600, and replaces it whatever mode it had', async () => {
    const path = join(await tempFolder(), 'state');
    await replaceFile(path, 'one');
    expect(await modeOf(path)).toBe('600');
    await chmod(path, 0o644);
    await replaceFile(path, 'two');
    expect([await modeOf(path), await readFile(path, 'utf8')]).toEqual(['600', 'two']);
  });

  it('leaves nothing beside the file', async () => {
    const folder = await tempFolder();
    await replaceFile(join(folder, 'state'), 'one');
    await replaceFile(join(folder, 'state'), 'two');
    expect(await readdir(folder)).toEqual(['state']);
  });

  it('fails in words and leaves nothing behind where it cannot write', async () => {
    const folder = await tempFolder();
    await mkdir(join(folder, 'in-the-way'));
    await expect(replaceFile(join(folder, 'in-the-way'), 'x')).rejects.toMatchObject({ name: 'Failure' });
    await expect(replaceFile(join(folder, 'no', 'such', 'folder'), 'x')).rejects.toMatchObject({
      name: 'Failure',
      message: `cannot write ${join(folder, 'no', 'such', 'folder')}: no such file or folder`,
    });
    expect(await readdir(folder)).toEqual(['in-the-way']);
  });

  it('leaves the file whole, old or new, whenever its writer is killed', async () => {
    const path = join(await tempFolder(), 'state');
    const files = JSON.stringify(new URL('../dist/files/files.js', import.meta.url).href);
    // Each content is one character, 200,000 times: a torn file has two of them or another length.
    const script = `
      import { writeSync } from 'node:fs';
      import { replaceFile } from ${files};
      const path = process.argv[1];
      for (let i = 0; ; i++) {
        const writing = replaceFile(path, String.fromCharCode(97 + (i % 26)).repeat(200_000));
        // Now, so that the kill comes while it is written.
        if (i % 3 === 2) writeSync(1, i + '\\n');
        await writing;
      }`;
    for (let round = 0; round < 12; round++) {
      const child = new Child(script, [path]);
      for (let lines = 0; lines < 1 + (round % 5); lines++) expect(await child.line()).toBeDefined();
      expect(await child.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
      const content = await readFile(path, 'utf8');
      expect(content).toBe((content[0] ?? '').repeat(200_000));
      expect(await modeOf(path)).toBe('600');
    }
  });
});

describe('createFile', () => {
  it('makes a file of mode 0600 and leaves nothing beside it', async () => {
    const folder = await tempFolder();
    await createFile(join(folder, 'new'), 'content');
    expect(await modeOf(join(folder, 'new'))).toBe('600');
    expect(await readFile(join(folder, 'new'), 'utf8')).toBe('content');
    expect(await readdir(folder)).toEqual(['new']);
  });

  it('takes octets as they are, and text in pieces', async () => {
    const folder = await tempFolder();
    const octets = Uint8Array.from({ length: 256 }, (_, i) => i);
    await createFile(join(folder, 'octets'), octets);
    expect(Uint8Array.from(await readFile(join(folder, 'octets')))).toEqual(octets);
    function* pieces(): Iterable<string> {
      for (let i = 0; i < 1000; i++) yield `${i} ü\n`;
    }
    await createFile(join(folder, 'text'), pieces());
    expect(await readFile(join(folder, 'text'), 'utf8')).toBe([...pieces()].join(''));
    expect(await modeOf(join(folder, 'text'))).toBe('600');
  });

  it('leaves nothing behind where the pieces end in a failure', async () => {
    const folder = await tempFolder();
    function* pieces(): Iterable<string> {
      yield 'one';
      throw new Error('no more');
    }
    await expect(createFile(join(folder, 'text'), pieces())).rejects.toThrow('no more');
    expect(await readdir(folder)).toEqual([]);
  });

  it('never overwrites, and says so', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    await createFile(path, 'first');
    await expect(createFile(path, 'second')).rejects.toMatchObject({
      name: 'Failure',
      message: `cannot write ${path}: it exists already`,
    });
    expect(await readFile(path, 'utf8')).toBe('first');
    expect(await readdir(folder)).toEqual(['new']);
  });

  it('does not write through a symbolic link, dangling or not', async () => {
    const folder = await tempFolder();
    await symlink(join(folder, 'elsewhere'), join(folder, 'link'));
    await expect(createFile(join(folder, 'link'), 'x')).rejects.toMatchObject({ name: 'Failure' });
    expect(await readdir(folder)).toEqual(['link']);
  });

  it('makes one file where many want to make it', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => createFile(path, `writer ${i}`)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await readFile(path, 'utf8')).toBe(`writer ${results.findIndex(({ status }) => status === 'fulfilled')}`);
    expect(await readdir(folder)).toEqual(['new']);
  });

  it.each(['less', 'more than there was before'])('writes %j instead, if what is done first says so', async (instead) => {
    const folder = await tempFolder();
    await createFile(join(folder, 'file'), 'content', () => Promise.resolve(instead));
    expect(await readFile(join(folder, 'file'), 'utf8')).toBe(instead);
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('gives the content its name after what is to be done first, and not at all if that fails', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'last');
    const there: boolean[] = [];
    await createFile(path, 'content', async () => void there.push(await exists(path)));
    expect([there, await readFile(path, 'utf8')]).toEqual([[false], 'content']);
    const refused = createFile(join(folder, 'none'), 'content', () => Promise.reject(new Failure('not now')));
    await expect(refused).rejects.toThrow('not now');
    expect(await readdir(folder)).toEqual(['last']);
  });
});

/** A process that writes `path` without end, and has written a part of it once it says so. */
async function writing(path: string, first = ''): Promise<Child> {
  const child = new Child(
    `
    import { writeSync } from 'node:fs';
    import { createFile } from ${JSON.stringify(new URL('../dist/files/files.js', import.meta.url).href)};
    let asked = false;
    ${first}
    function* pieces() {
      for (let i = 0; !asked; i++) {
        yield 'a key';
        if (i === 2) writeSync(1, 'writing\\n');
      }
    }
    await createFile(process.argv[1], pieces());`,
    [path],
  );
  expect(await child.line()).toBe('writing');
  return child;
}

describe('what createFile writes aside', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'goes where %s ends the process, which ends by that signal',
    async (signal) => {
      const folder = await tempFolder();
      const writer = await writing(join(folder, 'new'));
      expect(await readdir(folder)).toEqual([expect.stringMatching(/^\.new\.[0-9a-f]{8}$/)]);
      expect(await writer.kill(signal)).toEqual({ code: null, signal });
      expect(await readdir(folder)).toEqual([]);
    },
  );

  it('is finished where somebody else listens to the signal, as a daemon does', async () => {
    const folder = await tempFolder();
    const writer = await writing(join(folder, 'new'), `process.on('SIGTERM', () => { asked = true; });`);
    expect(await writer.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await readdir(folder)).toEqual(['new']);
  });

  it('goes with the next write where its writer was killed, and not while its writer writes', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    const [killed, alive] = [await writing(path), await writing(path)];
    expect(await readdir(folder)).toHaveLength(2);
    await killed.kill('SIGKILL');
    await createFile(path, 'content');
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^\.new\./), 'new']);
    await alive.kill('SIGKILL');
    await expect(createFile(path, 'more')).rejects.toMatchObject({ message: `cannot write ${path}: it exists already` });
    expect(await readdir(folder)).toEqual(['new']);
    expect(await readFile(path, 'utf8')).toBe('content');
  });

  it('goes where the file is found to have its name, which it had got when its writer was killed', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    expect(await isTaken(path)).toBe(false);
    await createFile(path, 'content');
    await link(path, join(folder, '.new.01234567'));
    expect(await isTaken(path)).toBe(true);
    expect(await readdir(folder)).toEqual(['new']);
    expect(await readFile(path, 'utf8')).toBe('content');
  });

  it('is all that goes: no other name, no link, no folder, nothing empty, nothing of another user', async () => {
    const folder = await tempFolder();
    for (const name of ['.new.new', '.new.0123456', '.new.012345678', '.new.0123456g', '.newer.01234567', 'new.01234567'])
      await writeFile(join(folder, name), 'x', { mode: 0o600 });
    await symlink(join(folder, '.new.new'), join(folder, '.new.00000001'));
    await mkdir(join(folder, '.new.00000002'));
    await writeFile(join(folder, '.new.00000003'), '');
    if (IS_ROOT) {
      await writeFile(join(folder, '.new.00000004'), 'x');
      await chown(join(folder, '.new.00000004'), 65_534, 65_534);
    }
    const before = await readdir(folder);
    await createFile(join(folder, 'new'), 'content');
    expect(await readdir(folder)).toEqual([...before, 'new'].toSorted());
  });
});

describe.skipIf(!hasGcc())('createFile on a file system without hard links (needs gcc)', () => {
  /** Creates `path` so often at once; gives what came of each. */
  async function create(path: string, writers: number): Promise<unknown> {
    const child = new Child(
      `
      import { createFile } from ${JSON.stringify(new URL('../dist/files/files.js', import.meta.url).href)};
      const writers = Array.from({ length: ${writers} }, (_, i) => createFile(process.argv[1], 'content ' + i));
      const results = await Promise.allSettled(writers);
      console.log(JSON.stringify(results.map(({ reason }) => reason?.message ?? 'created')));`,
      [path],
      { env: await withoutLinks() },
    );
    return JSON.parse((await child.line()) ?? '');
  }

  it('makes a file of mode 0600 with nothing beside it, and never overwrites', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    expect(await create(path, 1)).toEqual(['created']);
    expect([await modeOf(path), await readFile(path, 'utf8'), await readdir(folder)]).toEqual(['600', 'content 0', ['new']]);
    await writeFile(path, 'mine');
    expect(await create(path, 1)).toEqual([`cannot write ${path}: it exists already`]);
    expect([await readFile(path, 'utf8'), await readdir(folder)]).toEqual(['mine', ['new']]);
  });

  it('makes one file where many want to make it', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'new');
    const results = (await create(path, 20)) as string[];
    expect(results.filter((result) => result === 'created')).toHaveLength(1);
    expect(await readFile(path, 'utf8')).toBe(`content ${results.indexOf('created')}`);
    expect(await readdir(folder)).toEqual(['new']);
  });
});

describe('readPrivateFile', () => {
  it.each([0o604, 0o640, 0o644, 0o660, 0o666, 0o601, 0o610, 0o777])(
    'refuses a file of mode %o, with the command that mends it',
    async (mode) => {
      const path = join(await tempFolder(), 'key');
      await writeFile(path, 'secret');
      await chmod(path, mode);
      const refused = {
        name: 'UsageFailure',
        exitCode: 2,
        message: `${path} holds a secret and has mode 0${mode.toString(8)}: others can read it`,
        advice: `Run: chmod 600 ${path}`,
      };
      await expect(readPrivateFile(path)).rejects.toMatchObject(refused);
      await expect(checkPrivateFile(path)).rejects.toMatchObject(refused);
      expect(await readPlainFile(path)).toBe('secret');
    },
  );

  it.each([0o600, 0o400, 0o700])('reads a file of mode %o', async (mode) => {
    const path = join(await tempFolder(), 'key');
    await writeFile(path, 'secret');
    await chmod(path, mode);
    expect(await readPrivateFile(path)).toBe('secret');
    await checkPrivateFile(path);
  });

  it('looks at the file itself, not at a link to it', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'key'), 'secret', { mode: 0o600 });
    await link(join(folder, 'key'), join(folder, 'other'));
    await symlink(join(folder, 'key'), join(folder, 'link'));
    expect(await readPrivateFile(join(folder, 'link'))).toBe('secret');
    await chmod(join(folder, 'other'), 0o644);
    await expect(readPrivateFile(join(folder, 'link'))).rejects.toMatchObject({ name: 'UsageFailure' });
  });

  it('reads from a pipe up to the same bound', async () => {
    const pipe = join(await tempFolder(), 'pipe');
    expect(spawnSync('mkfifo', ['-m', '600', pipe]).status).toBe(0);
    const read = async (content: string): Promise<string> => {
      const [text] = await Promise.all([readPrivateFile(pipe, 1000), writeFile(pipe, content)]);
      return text;
    };
    expect(await read('x'.repeat(1000))).toBe('x'.repeat(1000));
    await expect(read('x'.repeat(1001))).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot read ${pipe}: it has more than 1000 octets`,
    });
  });

  it('names the file it cannot read', async () => {
    const folder = await tempFolder();
    await expect(readPrivateFile(join(folder, 'none'))).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot read ${join(folder, 'none')}: no such file or folder`,
    });
    await expect(readPrivateFile(folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot read ${folder}: it is not a file`,
    });
  });

  it('has nobody change the mode of a folder or a device', async () => {
    const folder = await tempFolder();
    await chmod(folder, 0o755);
    for (const path of [folder, '/dev/null'])
      await expect(checkPrivateFile(path)).rejects.toMatchObject({
        message: `cannot read ${path}: it is not a file`,
        advice: 'Check the path.',
      });
  });

  it('names a file that belongs to somebody else', async () => {
    const path = join(await tempFolder(), 'key');
    await writeFile(path, 'secret', { mode: 0o000 });
    await unprivileged(() =>
      expect(readPrivateFile(path)).rejects.toMatchObject({ message: `cannot read ${path}: permission denied` }),
    );
  });
});

describe('what is not the path’s fault', () => {
  it.skipIf(process.platform !== 'linux')('is a failure at work where the disk fails while it is read', async () => {
    // Nothing lies at the address 0 of a process: the kernel answers EIO, as for a disk that cannot
    // be read.
    await expect(readPrivateFile('/proc/self/mem')).rejects.toMatchObject({
      name: 'Failure',
      exitCode: 1,
      message: 'cannot read /proc/self/mem: the device reports an input/output error',
      advice: 'Check the disk.',
    });
  });

  it('is one where the file cannot be opened for now, and a path that is wrong stays the user’s mistake', async () => {
    const folder = await tempFolder();
    await symlink('loop', join(folder, 'loop'));
    const paths = [join(folder, 'key'), join(folder, 'none'), join(folder, 'loop'), join(folder, 'x'.repeat(300))];
    await writeFile(join(folder, 'key'), 'secret', { mode: 0o600 });
    const script = `
      import { openSync } from 'node:fs';
      import { readPrivateFile } from ${JSON.stringify(new URL('../dist/files/files.js', import.meta.url).href)};
      const paths = ${JSON.stringify(paths)};
      const look = async (path) => readPrivateFile(path).catch((error) => error.name + ' ' + error.exitCode);
      const results = [];
      for (const path of paths) results.push(await look(path));
      try {
        for (;;) openSync('/dev/null');
      } catch {}
      results.push(await look(paths[0]));
      console.log(JSON.stringify(results));`;
    const limited = ['-c', 'ulimit -n 64 && exec "$0" --input-type=module --eval "$1"', process.execPath, script];
    const { stdout } = spawnSync('/bin/sh', limited, { encoding: 'utf8' });
    expect(JSON.parse(stdout)).toEqual(['secret', 'UsageFailure 2', 'UsageFailure 2', 'UsageFailure 2', 'Failure 1']);
  });
});

describe('readOctets', () => {
  it('reads a file of any mode as it is, up to a bound', async () => {
    const path = join(await tempFolder(), 'octets');
    const octets = Uint8Array.from({ length: 256 }, (_, i) => i);
    await writeFile(path, octets);
    await chmod(path, 0o644);
    expect(Uint8Array.from(await readOctets(path))).toEqual(octets);
    await expect(readOctets(path, 255)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot read ${path}: it has 256 octets, more than 255`,
    });
  });
});

describe('ensurePrivateFolder', () => {
  it('makes folders of mode 0700', async () => {
    const folder = join(await tempFolder(), 'a', 'b');
    await ensurePrivateFolder(folder);
    expect(await modeOf(folder)).toBe('700');
    expect(await modeOf(join(folder, '..'))).toBe('700');
    await ensurePrivateFolder(folder);
  });

  it.each([0o777, 0o703, 0o702, 0o1777])('refuses a folder of mode %o, into which everybody may write', async (mode) => {
    const folder = await tempFolder();
    await chmod(folder, mode);
    await expect(ensurePrivateFolder(folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `everybody may write into the folder ${folder}`,
      advice: `Run: chmod 700 ${folder}`,
    });
  });

  it('names a path it cannot make a folder of', async () => {
    const path = join(await tempFolder(), 'file');
    await writeFile(path, '');
    await expect(ensurePrivateFolder(path)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `cannot use the folder ${path}: it is a file`,
    });
    await expect(ensurePrivateFolder(join(path, 'below'))).rejects.toMatchObject({
      name: 'Failure',
      message: `cannot use the folder ${join(path, 'below')}: part of the path is not a folder`,
    });
  });
});

describe('exists', () => {
  it('tells what is there and what is not', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'file'), '');
    expect(await exists(join(folder, 'file'))).toBe(true);
    expect(await exists(folder)).toBe(true);
    expect(await exists(join(folder, 'none'))).toBe(false);
  });

  it.skipIf(!IS_ROOT)('fails where that cannot be told (needs root, to be another user)', async () => {
    const folder = await tempFolder();
    await unprivileged(() => expect(exists(join(folder, 'file'))).rejects.toMatchObject({ name: 'Failure' }));
  });
});

describe('the file of a secret', () => {
  it.each(['lk_aaaabbbb', 'correct.horse', '~passw0rd', '/9j4AAQSkZJRg', 'abc/9j4AAQ'])(
    'is not repeated where it may be the secret: %s',
    async (secret) => {
      const message = await readSecretFile(secret, '--token-file').catch((error: unknown) => (error as Error).message);
      expect(message).toBe('the file that --token-file names is not there');
    },
  );

  it('is named where it is missing in a folder that is there', async () => {
    const path = join(await tempFolder(), 'none');
    await expect(readSecretFile(path, '--token-file')).rejects.toThrow(`the file that --token-file names, ${path}, is not there`);
  });
});
