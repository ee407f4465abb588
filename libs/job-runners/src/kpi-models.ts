import { createHash } from 'node:crypto';
import catalogue from '@music/glue/sql/catalogue.sql';
import countedListens from '@music/glue/sql/counted_listens.sql';
import day from '@music/glue/sql/day.sql';
import genreDay from '@music/glue/sql/genre_day.sql';
import newListens from '@music/glue/sql/new_listens.sql';
import runReport from '@music/glue/sql/run_report.sql';
import topGenres from '@music/glue/sql/top_genres.sql';
import topSongs from '@music/glue/sql/top_songs.sql';
import trackGenreDay from '@music/glue/sql/track_genre_day.sql';

/** The text of every model of `glue/sql/`. */
export const MODELS = {
  new_listens: newListens,
  catalogue,
  counted_listens: countedListens,
  track_genre_day: trackGenreDay,
  genre_day: genreDay,
  top_songs: topSongs,
  top_genres: topGenres,
  day,
  run_report: runReport,
} as const;

export const countedListensSql = (keepUnknownTracks: boolean): string =>
  MODELS.counted_listens.replace('${keep_unknown_tracks}', keepUnknownTracks ? 'TRUE' : 'FALSE');

/** Names the models by their content; a day's item says which made it. `music_kpis.py` names those of its folder alike. */
export const MODELS_VERSION = createHash('sha256')
  .update(
    Object.entries(MODELS)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, sql]) => `${name}.sql\0${sql}\0`)
      .join(''),
  )
  .digest('hex')
  .slice(0, 12);
