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

/** All KPIs of one day, as a KPI job leaves them. */
export interface DayKpis {
  /** YYYY-MM-DD in the KPI time zone. */
  readonly date: string;
  readonly listen_count: number;
  readonly unique_listeners: number;
  readonly genres: readonly GenreKpis[];
  readonly top_songs: readonly TopSong[];
  readonly top_genres: readonly TopGenre[];
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
}
