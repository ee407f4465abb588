import { randomBytes } from 'node:crypto';
import { existsSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

/** Starts sooner, and gets through little data sooner; with much data it is slower. */
export const QUICK_START = '-XX:TieredStopAtLevel=1';

const QUIET = ['-Xlog:cds=off', '-Xlog:cds+dynamic=off'];

/**
 * Has Java keep the classes of a program, as it has loaded them, in a file beside its jars: from the second start on it
 * is up in about half the time. An archive that does not fit (another Java, other jars) is not used, and does no harm.
 */
export class SharedClasses {
  private readonly archive: string;
  /** Made by this process, and put in place when it is whole. */
  private readonly made: string | undefined;

  /** `dir` may be one that cannot be written to. */
  constructor(dir: string, program: string) {
    this.archive = path.join(dir, `${program}.jsa`);
    if (!existsSync(this.archive)) this.made = `${this.archive}.${randomBytes(6).toString('hex')}`;
  }

  get jvmArgs(): string[] {
    return this.made === undefined
      ? [`-XX:SharedArchiveFile=${this.archive}`, ...QUIET]
      : [`-XX:ArchiveClassesAtExit=${this.made}`, ...QUIET];
  }

  /** To be called once the program has ended. `whole`: it was not killed while it may have been writing. */
  ended(whole: boolean): void {
    if (this.made === undefined || !existsSync(this.made)) return;
    if (whole) renameSync(this.made, this.archive);
    else rmSync(this.made);
  }
}
