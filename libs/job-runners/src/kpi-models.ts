import { createHash } from 'node:crypto';
import catalogue from '@music/glue/sql/catalogue.sql';
import day from '@music/glue/sql/day.sql';
import dayListeners from '@music/glue/sql/day_listeners.sql';
import distinctListens from '@music/glue/sql/distinct_listens.sql';
import genreBitmaps from '@music/glue/sql/genre_bitmaps.sql';
import genreDay from '@music/glue/sql/genre_day.sql';
import genreListeners from '@music/glue/sql/genre_listeners.sql';
import listeners from '@music/glue/sql/listeners.sql';
import listenerDay from '@music/glue/sql/listener_day.sql';
import quality from '@music/glue/sql/quality.sql';
import runReport from '@music/glue/sql/run_report.sql';
import topGenres from '@music/glue/sql/top_genres.sql';
import topSongs from '@music/glue/sql/top_songs.sql';
import trackDay from '@music/glue/sql/track_day.sql';
import trackGenreDay from '@music/glue/sql/track_genre_day.sql';
import tracks from '@music/glue/sql/tracks.sql';

/** The text of every model of `glue/sql/`, in the order in which they run. */
export const MODELS = {
  tracks,
  catalogue,
  listeners,
  distinct_listens: distinctListens,
  track_day: trackDay,
  genre_bitmaps: genreBitmaps,
  genre_listeners: genreListeners,
  day_listeners: dayListeners,
  listener_day: listenerDay,
  track_genre_day: trackGenreDay,
  genre_day: genreDay,
  top_songs: topSongs,
  top_genres: topGenres,
  day,
  quality,
  run_report: runReport,
} as const;

export const catalogueSql = (keepUnknownTracks: boolean): string =>
  MODELS.catalogue.replace('${keep_unknown_tracks}', keepUnknownTracks ? 'TRUE' : 'FALSE');

/**
 * Names the models by their content; a day's item says which made it. `music_kpis.py` names those of its folder alike.
 */
export const MODELS_VERSION = createHash('sha256')
  .update(
    Object.entries(MODELS)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, sql]) => `${name}.sql\0${sql}\0`)
      .join(''),
  )
  .digest('hex')
  .slice(0, 12);
