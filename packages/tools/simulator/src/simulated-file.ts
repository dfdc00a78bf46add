/**
 * One file on a disk of its own, replaced as `replaceFile` of packages/runtime does it: written
 * aside, synced, renamed, the folder synced. Each is a step of the process, so that it may be
 * killed between any two.
 */

import { hashText } from '@latchkey/test-support/seeded-random';
import { Disk, type PossibleContent } from './disk.js';
import type { CrashKind, Process } from './process.js';

export const FILE = 'file';
const TEMP_FILE = '.file.new';
/**
 * What a process that was killed has left unsynced the system writes by itself, after so many ms.
 */
const WRITE_BACK_DELAY_MS = 30_000;

export type Step = readonly [name: string, action: () => void];

export class SimulatedFile {
  readonly #process: Process;
  readonly #errorProbability: number;
  readonly #disk = new Disk();
  readonly #stream: number;
  #steps = 0;
  #crashes = 0;
  /** Told of each step that changes what the disk holds. */
  onChange: () => void = () => undefined;

  /** @param errorProbability that the disk refuses a step */
  constructor(process: Process, errorProbability: number, text?: string) {
    this.#process = process;
    this.#errorProbability = errorProbability;
    this.#stream = hashText(`${process.name} disk`);
    if (text === undefined) return;
    this.#disk.write(FILE, text);
    this.#disk.sync(FILE);
    this.#disk.syncFolder();
  }

  read(): string | undefined {
    return this.#disk.read(FILE);
  }

  afterPowerLoss(): PossibleContent[] {
    return this.#disk.afterPowerLoss(FILE);
  }

  /** Durable when it tells `true`. */
  replace(text: string, done: (written: boolean) => void): void {
    this.#runSteps(this.steps(this.#disk, text), done);
  }

  /** Another program writes it, while this one does not run: durable at once. */
  put(text: string): void {
    this.#disk.write(FILE, text);
    this.#disk.sync(FILE);
    this.#disk.syncFolder();
    this.onChange();
  }

  protected steps(disk: Disk, text: string): readonly Step[] {
    return [
      ['writes a file aside', () => disk.write(TEMP_FILE, text)],
      ['syncs the file aside', () => disk.sync(TEMP_FILE)],
      ['renames the file', () => disk.rename(TEMP_FILE, FILE)],
      ['syncs the folder', () => disk.syncFolder()],
      ['goes on after a write', () => undefined],
    ];
  }

  /** Takes the steps of a write, one after another. */
  #runSteps([first, ...rest]: readonly Step[], done: (written: boolean) => void): void {
    if (first === undefined) return done(true);
    const [name, action] = first;
    this.#process.schedule(1, name, () => {
      if (this.#isRejected(name)) return done(false);
      action();
      this.onChange();
      this.#runSteps(rest, done);
    });
  }

  #isRejected(step: string): boolean {
    const { simulation, name } = this.#process;
    const count = this.#steps++;
    if (!simulation.faults.roll(this.#stream, count, this.#errorProbability)) return false;
    if (!simulation.faults.trigger(`${name} disk step ${count} fails: ${step}`)) return false;
    simulation.record(name, `the disk refuses: ${step}`);
    return true;
  }

  /** The process is gone, or the power with it. */
  crash(kind: CrashKind): void {
    this.#crashes += 1;
    const { simulation, name } = this.#process;
    if (kind === 'power lost') return this.#disk.losePower(simulation.faults.random(`${name} crash ${this.#crashes}`));
    simulation.events.schedule(WRITE_BACK_DELAY_MS, () => {
      this.#disk.writeBack();
      this.onChange();
    });
  }

  /** The folder is lost. */
  remove(): void {
    this.#disk.remove(FILE);
  }
}
