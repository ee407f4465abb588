import { EntityNotFoundException } from '@aws-sdk/client-glue';

/** What Glue answers, or undefined where it has no such thing. */
export async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof EntityNotFoundException) return undefined;
    throw error;
  }
}

/** Whether all that is wanted is there; what Glue adds of its own does not matter. */
export function contains(there: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return there === wanted;
  return (
    typeof there === 'object' &&
    there !== null &&
    Object.entries(wanted).every(([key, value]) => contains((there as Record<string, unknown>)[key], value))
  );
}
