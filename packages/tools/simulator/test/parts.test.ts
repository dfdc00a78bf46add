// Tests what the worlds are built on: chance, time, disks.

import { describe, expect, it } from 'vitest';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import { Disk } from '../src/disk.js';
import { EventQueue } from '../src/event-queue.js';

describe('chance', () => {
  it('is the same for a seed and a stream, and another for any other', () => {
    const draw = (seed: number, stream: string): string => Buffer.from(new SeededRandom(seed, stream).octets(16)).toString('hex');
    expect(draw(1, 'a')).toBe(draw(1, 'a'));
    const all = [draw(1, 'a'), draw(1, 'b'), draw(2, 'a'), draw(1 + 2 ** 32, 'a'), draw(2 ** 32, 'a')];
    expect(new Set(all).size).toBe(all.length);
  });

  it('draws every value of a range, and nothing else', () => {
    const random = new SeededRandom(7, 'range');
    const drawn = new Set(Array.from({ length: 1000 }, () => random.between(3, 7)));
    expect(drawn).toEqual(new Set([3, 4, 5, 6, 7]));
  });
});

describe('the timeline', () => {
  it('lets things happen in the order of their times, then of their entry', () => {
    const queue = new EventQueue();
    const seen: string[] = [];
    const random = new SeededRandom(1, 'timeline');
    for (let i = 0; i < 500; i++) {
      const at = random.below(50);
      queue.schedule(at, () => seen.push(`${String(at).padStart(2, '0')} ${String(i).padStart(3, '0')}`));
    }
    while (queue.step(100));
    expect(seen).toHaveLength(500);
    expect(seen).toEqual(seen.toSorted());
  });

  it('stops at the time it is given', () => {
    const queue = new EventQueue();
    queue.schedule(11, () => undefined);
    expect(queue.step(10)).toBe(false);
    expect(queue.now).toBe(10);
    expect(queue.step(11)).toBe(true);
  });
});

describe('a disk', () => {
  /** What stands under `f` after a loss of power, over many tries. */
  function afterPowerLoss(write: (disk: Disk) => void): Set<string | undefined> {
    const found = new Set<string | undefined>();
    for (let seed = 0; seed < 200; seed++) {
      const disk = new Disk();
      disk.write('f', 'old');
      disk.sync('f');
      disk.syncFolder();
      write(disk);
      const foreseen = disk.afterPowerLoss('f').map((each) => (typeof each === 'object' ? each.text : each));
      disk.losePower(new SeededRandom(seed, 'power'));
      const text = disk.read('f');
      found.add(text);
      expect(foreseen.includes('torn') ? 'torn' : text).toBeOneOf(foreseen);
    }
    return found;
  }

  it('holds the old or the new, whole, when a file was written aside, synced and renamed', () => {
    const found = afterPowerLoss((disk) => {
      disk.write('aside', 'new');
      disk.sync('aside');
      disk.rename('aside', 'f');
    });
    expect(found).toEqual(new Set(['new', 'old']));
  });

  it('holds the new once the folder was synced too', () => {
    const found = afterPowerLoss((disk) => {
      disk.write('aside', 'new');
      disk.sync('aside');
      disk.rename('aside', 'f');
      disk.syncFolder();
    });
    expect([...found]).toEqual(['new']);
  });

  it('may hold anything when nothing was synced', () => {
    expect(afterPowerLoss((disk) => disk.overwrite('f', 'new')).has('')).toBe(true);
  });

  it('loses nothing of what it wrote back by itself', () => {
    const found = afterPowerLoss((disk) => {
      disk.overwrite('f', 'new');
      disk.writeBack();
    });
    expect([...found]).toEqual(['new']);
  });
});
