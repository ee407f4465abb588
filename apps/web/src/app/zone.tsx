import { type ReactNode, createContext, useContext, useMemo, useState } from 'react';

const STORED = 'music-zone';

/** The zone that all times are shown in, and what to choose another one with. */
interface ZoneChoice {
  readonly zone: string;
  choose(zone: string): void;
}

const ZoneContext = createContext<ZoneChoice>({ zone: 'UTC', choose: () => undefined });
export const useZone = (): ZoneChoice => useContext(ZoneContext);
export const ownZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;

export function ZoneProvider({ children }: { readonly children: ReactNode }) {
  const [zone, setZone] = useState(() => known(localStorage.getItem(STORED)) ?? 'UTC');
  const choice = useMemo(
    () => ({
      zone,
      choose: (next: string) => {
        localStorage.setItem(STORED, next);
        setZone(next);
      },
    }),
    [zone],
  );
  return <ZoneContext value={choice}>{children}</ZoneContext>;
}

function known(zone: string | null): string | undefined {
  try {
    return zone === null ? undefined : Intl.DateTimeFormat('en', { timeZone: zone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

/** A time in the zone of the page, with the zone. */
export function Time({ at, seconds = true }: { readonly at: string | undefined; readonly seconds?: boolean }) {
  const { zone } = useZone();
  if (at === undefined) return <>–</>;
  return (
    <time dateTime={at} title={at}>
      {timeText(at, zone, seconds)}
    </time>
  );
}

export function timeText(at: string, zone: string, seconds = true): string {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    ...(seconds ? { second: '2-digit' } : {}),
    timeZoneName: 'short',
  }).formatToParts(new Date(at));
  const of = (type: string) => parts.find((part) => part.type === type)?.value ?? '';
  const clock = [of('hour'), of('minute'), ...(seconds ? [of('second')] : [])].join(':');
  return `${of('year')}-${of('month')}-${of('day')} ${clock} ${of('timeZoneName')}`;
}
