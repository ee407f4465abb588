import { closeSync, existsSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';

/** Starts sooner, and gets through little data sooner; with much data it is slower. */
export const QUICK_START = '-XX:TieredStopAtLevel=1';

const QUIET = ['-Xlog:cds=off', '-Xlog:cds+dynamic=off'];

/** After it nobody is making an archive any more: who began it was killed. Milliseconds. */
const ABANDONED_MS = 10 * 60_000;

/**
 * Has Java keep the classes of a program, as it has loaded them, in a file beside its jars: from the second start on it
 * is up in about half the time. One process at a time makes it, when it ends; the others go without meanwhile. An archive
 * that does not fit (another Java, other jars) is not used, and does no harm.
 */
export class SharedClasses {
  private readonly archive: string;
  /** Whether the program writes the archive when it ends, which takes seconds. */
  readonly isMaking: boolean;

  /** `dir` may be one that cannot be written to. */
  constructor(dir: string, program: string) {
    this.archive = path.join(dir, `${program}.jsa`);
    this.isMaking = !existsSync(this.archive) && begin(this.partial);
  }

  private get partial(): string {
    return `${this.archive}.partial`;
  }

  get jvmArgs(): string[] {
    if (this.isMaking) return [`-XX:ArchiveClassesAtExit=${this.partial}`, ...QUIET];
    return existsSync(this.archive) ? [`-XX:SharedArchiveFile=${this.archive}`, ...QUIET] : [];
  }

  /** To be called once the program has ended. `whole`: it was not killed while it may have been writing. */
  ended(whole: boolean): void {
    if (!this.isMaking || !existsSync(this.partial)) return;
    if (whole && statSync(this.partial).size > 0) renameSync(this.partial, this.archive);
    else rmSync(this.partial);
  }
}

/** Whether it is this process that makes the file. */
function begin(file: string): boolean {
  try {
    if (existsSync(file) && Date.now() - statSync(file).mtimeMs > ABANDONED_MS) rmSync(file);
    closeSync(openSync(file, 'wx'));
    return true;
  } catch {
    return false; // another one does, or nothing can be written there
  }
}
