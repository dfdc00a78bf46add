/**
 * One file on a disk of its own, replaced as `replaceFile` of packages/runtime does it: written aside, synced, renamed, the folder synced. Each is a
 * step of the process, so that it may be killed between any two.
 */

import { hashText } from './chance.js';
import { Disk, type Found } from './disk.js';
import type { Death, Process } from './process.js';

export const FILE = 'file';
const ASIDE = '.file.new';
/** What a process that was killed has left unsynced the system writes by itself, after so many ms. */
const WRITE_BACK_MS = 30_000;

export type Step = readonly [name: string, action: () => void];

export class PrivateFile {
  readonly #process: Process;
  readonly #errors: number;
  readonly #disk = new Disk();
  readonly #stream: number;
  #steps = 0;
  #crashes = 0;
  /** Told of each step that changes what the disk holds. */
  changed: () => void = () => undefined;

  /** @param errors that the disk refuses a step */
  constructor(process: Process, errors: number, text?: string) {
    this.#process = process;
    this.#errors = errors;
    this.#stream = hashText(`${process.name} disk`);
    if (text === undefined) return;
    this.#disk.write(FILE, text);
    this.#disk.sync(FILE);
    this.#disk.syncFolder();
  }

  read(): string | undefined {
    return this.#disk.read(FILE);
  }

  afterPowerLoss(): Found[] {
    return this.#disk.afterPowerLoss(FILE);
  }

  /** Durable when it tells `true`. */
  replace(text: string, done: (written: boolean) => void): void {
    this.#take(this.steps(this.#disk, text), done);
  }

  /** Another program writes it, while this one does not run: durable at once. */
  put(text: string): void {
    this.#disk.write(FILE, text);
    this.#disk.sync(FILE);
    this.#disk.syncFolder();
    this.changed();
  }

  protected steps(disk: Disk, text: string): readonly Step[] {
    return [
      ['writes a file aside', () => disk.write(ASIDE, text)],
      ['syncs the file aside', () => disk.sync(ASIDE)],
      ['renames the file', () => disk.rename(ASIDE, FILE)],
      ['syncs the folder', () => disk.syncFolder()],
      ['goes on after a write', () => undefined],
    ];
  }

  /** Takes the steps of a write, one after another. */
  #take([first, ...rest]: readonly Step[], done: (written: boolean) => void): void {
    if (first === undefined) return done(true);
    const [name, action] = first;
    this.#process.after(1, name, () => {
      if (this.#isRefused(name)) return done(false);
      action();
      this.changed();
      this.#take(rest, done);
    });
  }

  #isRefused(step: string): boolean {
    const { ground, name } = this.#process;
    const count = this.#steps++;
    if (!ground.faults.dice(this.#stream, count, this.#errors)) return false;
    if (!ground.faults.strikes(`${name} disk step ${count} fails: ${step}`)) return false;
    ground.note(name, `the disk refuses: ${step}`);
    return true;
  }

  /** The process is gone, or the power with it. */
  crash(death: Death): void {
    this.#crashes += 1;
    const { ground, name } = this.#process;
    if (death === 'power lost') return this.#disk.losePower(ground.faults.chance(`${name} crash ${this.#crashes}`));
    ground.timeline.after(WRITE_BACK_MS, () => {
      this.#disk.writeBack();
      this.changed();
    });
  }

  /** The folder is lost. */
  lose(): void {
    this.#disk.remove(FILE);
  }
}
