import { appendFileSync } from 'node:fs';

/** Whether all faults are injected, or only as many as `npm test` has time for. */
export const WHOLE = process.env['FAULTS'] === 'all';
/** Against hanging: a sweep of hundreds of kills is one test. */
export const WHOLE_MS = 3 * 3_600_000;

export interface InjectedFault {
  readonly fault: string;
  readonly where: string;
  readonly times: number;
  readonly outcome: string;
}

/** One line of the table at the end. */
export function logFault(line: InjectedFault): void {
  const file = process.env['FAULT_LOG'];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`);
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Of FAULT_SEED, or of the clock; it is printed, so that a failure can be had again. */
export function faultSeed(): number {
  const seed = Number(process.env['FAULT_SEED'] ?? Date.now() % 1_000_000);
  process.stdout.write(`FAULT_SEED=${seed}\n`);
  return seed;
}
