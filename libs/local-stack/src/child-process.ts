import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { PATIENCE_MS } from './until';

/**
 * Ends every process it was told of when its standard input closes, which also happens when this process is killed
 * with -9. It stands in a process group of its own, so that a Ctrl-C at the terminal does not reach it.
 */
const REAPER = `
  const pids = new Set();
  let rest = '';
  process.stdin.on('data', (data) => {
    const lines = (rest + data).split('\\n');
    rest = lines.pop();
    for (const line of lines) line[0] === '-' ? pids.delete(+line.slice(1)) : pids.add(+line);
  });
  const kill = (signal) => { for (const pid of pids) try { process.kill(pid, signal); } catch { pids.delete(pid); } };
  process.stdin.on('end', () => { kill('SIGTERM'); setTimeout(() => { kill('SIGKILL'); process.exit(); }, pids.size > 0 ? 3000 : 0); });
`;
let reaper: ChildProcess | undefined;

function tellReaper(line: string): void {
  if (reaper === undefined) {
    reaper = spawn(process.execPath, ['-e', REAPER], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    reaper.unref();
    (reaper.stdin as unknown as { unref(): void }).unref();
  }
  reaper.stdin?.write(`${line}\n`);
}

export interface ChildOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly cwd?: string;
}

/** A child process that logs to a file and does not outlive this one, however this one ends. */
export class Child {
  readonly exited: Promise<string>;
  private ended = false;

  private constructor(
    readonly name: string,
    readonly logFile: string,
    private readonly process: ChildProcess,
  ) {
    this.exited = new Promise((resolve) => {
      const end = (how: string) => {
        this.ended = true;
        if (process.pid !== undefined) tellReaper(`-${process.pid}`);
        resolve(how);
      };
      process.once('exit', (code, signal) => end(signal ?? `exit code ${code}`));
      process.once('error', (error) => end(error.message));
    });
  }

  static spawn(name: string, command: string, args: readonly string[], { env, logFile, cwd }: ChildOptions): Child {
    const log = openSync(logFile, 'a');
    // Its own process group: a Ctrl-C is ours to handle, in order.
    const child = spawn(command, args, { env, cwd, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.unref(); // one that was forgotten holds up nobody; the reaper ends it
    if (child.pid !== undefined) tellReaper(String(child.pid));
    return new Child(name, logFile, child);
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  get running(): boolean {
    return !this.ended;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.running) this.process.kill(signal);
  }

  /** SIGTERM, and SIGKILL for one that does not go in time. */
  async stop(graceMs = 10_000): Promise<void> {
    this.process.ref(); // its end is waited for
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), graceMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** The most memory it has had resident so far, bytes. Linux only; 0 elsewhere. */
  peakRss(): number {
    return this.memory('VmHWM');
  }

  /** The memory it has resident now, bytes. Linux only; 0 elsewhere. */
  rss(): number {
    return this.memory('VmRSS');
  }

  private memory(field: 'VmHWM' | 'VmRSS'): number {
    try {
      return (
        Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0) *
        1_024
      );
    } catch {
      return 0;
    }
  }

  /** Processor seconds it has used so far, of all its threads. Linux only; 0 elsewhere. */
  cpuSeconds(): number {
    try {
      const fields = readFileSync(`/proc/${this.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) / 100; // clock ticks, 100 a second
    } catch {
      return 0;
    }
  }

  lastLines(count = 15): string {
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
  }

  /** Polls until `ready` says so. Throws with the end of the log when the process ends before, or time runs out. */
  async until(ready: () => Promise<boolean>, timeoutMs = PATIENCE_MS): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!(await ready().catch(() => false))) {
      if (!this.running)
        throw new Error(
          `${this.name} ended (${await this.exited}) before it was ready; the end of ${this.logFile}:\n${this.lastLines()}`,
        );
      if (Date.now() > deadline)
        throw new Error(
          `${this.name} was not ready within ${timeoutMs / 1000} s; the end of ${this.logFile}:\n${this.lastLines()}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
