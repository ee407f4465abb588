import { setTimeout as pause } from 'node:timers/promises';

/**
 * How long a start, or something that is waited for, may take before it counts as hanging. It measures nothing: a machine
 * that is busy with something else may stand still for a minute.
 */
export const PATIENCE_MS = 300_000;

/**
 * Waits until something is so, or is there, looking every `everyMs`; what throws is not so yet. Gives what the look
 * gave. Throws, telling why, after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = PATIENCE_MS,
  everyMs = 50,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + timeoutMs;
  let thrown: unknown;
  while (Date.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found as Exclude<T, undefined | false>;
      thrown = undefined;
    } catch (error) {
      thrown = error;
    }
    await pause(everyMs);
  }
  throw new Error(`not within ${timeoutMs / 1_000} s: ${what}`, { cause: thrown });
}
