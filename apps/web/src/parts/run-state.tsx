import type { RunRow } from '../api/client';

/** A sign besides the colour, for who does not see that. */
const SIGNS: Readonly<Record<string, readonly [sign: string, kind: string]>> = {
  completed: ['✓', 'good'],
  skipped: ['–', 'plain'],
  rejected: ['✕', 'bad'],
  failed: ['!', 'bad'],
  held: ['‖', 'bad'],
};

export function RunState({ state }: Pick<RunRow, 'state'>) {
  const [sign, kind] = SIGNS[state] ?? ['▶', 'busy'];
  return (
    <span className={`badge ${kind}`}>
      <span aria-hidden="true">{sign}</span> {state}
    </span>
  );
}
