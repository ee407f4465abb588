import { setTimeout as pause } from 'node:timers/promises';

/** Waits until something is so, looking every 50 ms; what throws is not so yet. Throws, telling why, after `timeoutMs`. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let thrown: unknown;
  while (Date.now() < deadline) {
    try {
      if (await condition()) return;
      thrown = undefined;
    } catch (error) {
      thrown = error;
    }
    await pause(50);
  }
  throw new Error(`not within ${timeoutMs / 1_000} s: ${what}`, { cause: thrown });
}
