import type { LakeObject } from '@music/lake';

/** Days that are computed together. */
export interface Pass {
  readonly dates: readonly string[];
  readonly objects: readonly LakeObject[];
  /** Of all objects. */
  readonly bytes: number;
}

export interface LakeDay {
  readonly date: string;
  readonly objects: readonly LakeObject[];
}

/**
 * A pass ends with so many objects: the engine opens all of them, and what is computed can be published while the next
 * pass runs.
 */
const MAX_OBJECTS = 250;

/**
 * Small days share a pass, since a pass takes as long as reading some megabytes; a large day has one of its own. Days
 * stay in order. Pure.
 */
export function planPasses(days: readonly LakeDay[], bytesTogether: number): Pass[] {
  const passes: Pass[] = [];
  for (const { date, objects } of days) {
    const bytes = objects.reduce((sum, { size }) => sum + size, 0);
    const last = passes.at(-1);
    const fits =
      last !== undefined && last.bytes + bytes <= bytesTogether && last.objects.length + objects.length <= MAX_OBJECTS;
    if (fits)
      passes[passes.length - 1] = {
        dates: [...last.dates, date],
        objects: [...last.objects, ...objects],
        bytes: last.bytes + bytes,
      };
    else passes.push({ dates: [date], objects, bytes });
  }
  return passes;
}
