/** Numbers of one genre on one day. Counts and milliseconds are exact integers. */
export interface GenreKpis {
  readonly genre: string;
  readonly listen_count: number;
  readonly unique_listeners: number;
  readonly total_listening_ms: number;
}

export interface TopSong {
  readonly genre: string;
  /** From 1. */
  readonly rank: number;
  readonly track_id: string;
  readonly song: string;
  readonly artists: string;
  readonly listen_count: number;
}

export interface TopGenre {
  /** From 1. */
  readonly rank: number;
  readonly genre: string;
  readonly listen_count: number;
}

/** What the checks of a day look at besides its KPIs: of all its distinct listens, also those of tracks that do not count. */
export interface DayQuality {
  readonly listens: number;
  readonly unknown_track_listens: number;
  readonly unknown_user_listens: number;
  readonly most_listens_of_a_track: number;
  readonly most_listens_of_a_listener: number;
}

export const NO_LISTENS: DayQuality = {
  listens: 0,
  unknown_track_listens: 0,
  unknown_user_listens: 0,
  most_listens_of_a_track: 0,
  most_listens_of_a_listener: 0,
};

/** All KPIs of one day, as a KPI job leaves them. */
export interface DayKpis {
  /** YYYY-MM-DD in the KPI time zone. */
  readonly date: string;
  readonly listen_count: number;
  readonly unique_listeners: number;
  readonly genres: readonly GenreKpis[];
  readonly top_songs: readonly TopSong[];
  readonly top_genres: readonly TopGenre[];
  /** Absent where a job of an earlier release was adopted. */
  readonly quality?: DayQuality;
}

/** Where a day's numbers come from. */
export interface Provenance {
  readonly run_id: string;
  /** Ascends with every publishing. */
  readonly version: number;
  readonly computed_at: string;
  readonly engine: string;
  readonly job_run_id: string;
  /** Content hash of the models. */
  readonly sql_version: string;
  /** Content hash of the song catalogue. */
  readonly songs_version: string;
  /** Rows of the catalogue, where known. */
  readonly song_rows?: number;
}
