import { type Standing, type StandingNote, deliveryKey } from '@music/runs';
import type { Stores } from '@music/service';

/** Who took a delivery back, by key and version; those that stand are absent. */
export async function retractions({ runs }: Pick<Stores, 'runs'>): Promise<ReadonlyMap<string, StandingNote>> {
  const { standings } = await runs.standing.list();
  return new Map(standings.filter(({ stands }) => !stands).flatMap((each) => noteOf(each)));
}

function noteOf(standing: Standing): [string, StandingNote][] {
  const note = standing.notes.at(-1);
  return note === undefined ? [] : [[deliveryKey(standing), note]];
}

/** Why a delivery does not count, for people. */
export function describeRetraction({ change, runId, at, by, reason }: StandingNote): string {
  const what = change === 'replace' ? 'replaced' : 'taken back';
  return `${what} by ${runId}, ${at}${by === undefined ? '' : `, asked for by ${by}`}: ${reason}`;
}
