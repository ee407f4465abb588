import { type DayReport, minutesText, table } from '@music/reports';

/** So many days are shown, the last ones. */
export const DAYS_SHOWN = 7;

/** The last of so many days for people. */
export function describeDays(last: readonly DayReport[], all: number): string {
  const earlier = all > last.length ? [`… and ${all - last.length} earlier days`] : [];
  return [...last.map(describeDay), ...earlier].join('\n\n');
}

/** A day for people: its top genres, and their top songs. */
function describeDay(day: DayReport): string {
  const songs = day.top_genres.flatMap(({ genre }) =>
    (day.genres.find((each) => each.genre === genre)?.top_songs ?? []).map((song) => [
      genre,
      song.rank,
      song.song,
      song.artists,
      song.listen_count,
    ]),
  );
  const genres = day.top_genres.map((top) => {
    const kpis = day.genres.find(({ genre }) => genre === top.genre);
    return [
      top.rank,
      top.genre,
      top.listen_count,
      kpis?.unique_listeners,
      minutesText(kpis?.total_listening_time ?? 0),
      minutesText(kpis?.avg_listening_time_per_user ?? 0),
    ];
  });
  return [
    `${day.date}: ${day.listen_count.toLocaleString('en-US')} listens of ${day.unique_listeners.toLocaleString('en-US')} listeners in ${day.genres.length} genres`,
    table(['#', 'top genre', 'listens', 'listeners', 'minutes', 'minutes a listener'], genres),
    '',
    table(['genre', '#', 'top song', 'artists', 'listens'], songs),
  ].join('\n');
}
