import type { DayItem } from '@music/kpis';
import { describeRetraction, explain } from '@music/reports';
import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { ApiRuntime } from '../api-runtime';
import { Needs } from '../auth/needs';
import { AnswersRows, Tagged, taggedByVersions } from '../http/answer';
import { cursorTo, placeOf } from '../http/cursor';
import { linkNext } from '../http/link';
import { DayGenreParams, DayParams, IsLimit, IsText, MAX_GENRE, RangeQuery, rangeOf } from '../http/params';
import { ProblemError } from '../http/problem';
import {
  DayRow,
  GenreDayRow,
  LineageFileRow,
  TopGenreRow,
  TopSongRow,
  dayRow,
  genreDayRow,
  topGenreRow,
  topSongRow,
} from './kpi-rows';

/** A year and a day, so that a day can be held against the same one of the year before. */
export const MOST_DAYS = 367;
const MOST_GENRES = 1_000;

class TopGenresQuery {
  @IsLimit(MOST_GENRES, 5, 'How many.') readonly limit: number = 5;
}

class TopSongsQuery {
  @IsText(MAX_GENRE, 'Only of this genre.') readonly genre?: string;
  @IsLimit(3, 3, 'How many of each genre.') readonly limit: number = 3;
}

class GenresQuery {
  @IsText(MAX_GENRE, 'Only this genre: for names that cannot stand in a path, as `..`.') readonly genre?: string;
}

class ExplainQuery {
  @IsLimit(100, 50, 'How many runs to tell of.') readonly limit: number = 50;
  @IsText(2_048, 'Where to go on, of the `Link` of the page before.') readonly cursor?: string;
}

/** KPIs of a day, and where they come from. */
@Controller('v1/days')
@Needs('reader')
@ApiTags('days')
export class DaysController {
  constructor(private readonly runtime: ApiRuntime) {}

  @Get()
  @ApiOperation({ operationId: 'listDays', summary: `Published days, ascending; at most ${MOST_DAYS} at once` })
  @AnswersRows(DayRow, 'A row a day; days that were never published have none.')
  async days(@Query() query: RangeQuery) {
    const { from, to } = rangeOf(query, this.zone, MOST_DAYS);
    const rows = (await this.stores.history.days(from, to)).map((day) => dayRow(day, this.zone));
    return taggedByVersions('days', rows);
  }

  @Get(':date')
  @ApiOperation({ operationId: 'getDay', summary: 'A day' })
  @AnswersRows(DayRow, 'One row.')
  async day(@Param() { date }: DayParams, @Req() request: Request) {
    return this.ofDay(date, request, async (day) => [dayRow(await day, this.zone)]);
  }

  @Get(':date/top-genres')
  @ApiOperation({ operationId: 'topGenresOfDay', summary: 'The most listened genres of a day' })
  @AnswersRows(TopGenreRow, 'By rank.')
  async topGenres(@Param() { date }: DayParams, @Query() { limit }: TopGenresQuery, @Req() request: Request) {
    return this.ofDay(date, request, async () =>
      (await this.stores.kpis.topGenres(date, limit)).map((item) => topGenreRow(item, this.zone)),
    );
  }

  @Get(':date/top-songs')
  @ApiOperation({ operationId: 'topSongsOfDay', summary: 'The most listened songs of each genre of a day, or of one' })
  @AnswersRows(TopSongRow, 'By genre, then by rank.')
  async topSongs(@Param() { date }: DayParams, @Query() { genre, limit }: TopSongsQuery, @Req() request: Request) {
    return this.ofDay(date, request, async () =>
      (await this.stores.kpis.topSongs(date, genre, limit)).map((item) => topSongRow(item, this.zone)),
    );
  }

  @Get(':date/genres')
  @ApiOperation({ operationId: 'genresOfDay', summary: 'The numbers of every genre of a day' })
  @AnswersRows(GenreDayRow, 'By name.')
  async genres(@Param() { date }: DayParams, @Query() { genre }: GenresQuery, @Req() request: Request) {
    return this.ofDay(date, request, async () => {
      const rows = (await this.stores.kpis.genres(date, genre)).map((item) => genreDayRow(item, this.zone));
      // The table has them by key, where a very long name is a hash.
      return rows.sort((a, b) => Buffer.compare(Buffer.from(a.genre), Buffer.from(b.genre)));
    });
  }

  @Get(':date/genres/:genre')
  @ApiOperation({ operationId: 'genreOfDay', summary: 'The numbers of a genre of a day' })
  @AnswersRows(GenreDayRow, 'One row.')
  async genre(@Param() { date, genre }: DayGenreParams, @Req() request: Request) {
    return this.ofDay(date, request, async () => {
      const item = await this.stores.kpis.genre(date, genre);
      if (item === undefined) throw noGenre(genre, date);
      return [genreDayRow(item, this.zone)];
    });
  }

  @Get(':date/genres/:genre/explain')
  @ApiOperation({
    operationId: 'explain',
    summary: 'Where the numbers of a genre of a day come from: the files of each run that has listens of the day',
  })
  @AnswersRows(LineageFileRow, 'A row a file; `GET /v1/days/{date}` names run, engine, SQL and songs.', { paged: true })
  async explain(
    @Param() { date, genre }: DayGenreParams,
    @Query() query: ExplainQuery,
    @Res({ passthrough: true }) response: Response,
  ) {
    const { limit, cursor } = query;
    const of = { date, genre, limit };
    const { offset } =
      cursor === undefined
        ? { offset: 0 }
        : placeOf<{ offset: number }>(
            cursor,
            of,
            (place) => Number.isSafeInteger(place.offset) && Number(place.offset) > 0,
          );
    const lineage = await explain(this.stores, this.runtime.config.lakeBucket, date, genre, { limit, offset });
    if (lineage === undefined) throw noGenre(genre, date);
    if (offset + limit < lineage.run_count) linkNext(response, cursorTo({ offset: offset + limit }, of));
    return lineage.runs.flatMap(({ run_id, lake_bytes, files }) =>
      files.map(({ key, version, version_id, sha256, now_at, retracted }) => ({
        run_id,
        key,
        version,
        version_id,
        sha256,
        now_at,
        retracted: retracted === undefined ? undefined : describeRetraction(retracted),
        lake_bytes,
      })),
    );
  }

  /**
   * Rows of a published day; known to be the same as long as its version is. Who may have them already is asked for the
   * version first; for all others both are read at once.
   */
  private async ofDay<T extends { version: number }>(
    date: string,
    request: Request,
    rows: (day: Promise<DayItem>) => Promise<T[]>,
  ): Promise<Tagged<T[]>> {
    const reading = this.stores.kpis.readDay(date).then((day) => {
      if (day === undefined) throw new ProblemError(404, 'day-not-published', `no KPIs of ${date} have been published`);
      return day;
    });
    const tag = (version: number) => `${date}-${version}`;
    if (request.headers['if-none-match'] !== undefined)
      return new Tagged(tag((await reading).version), () => rows(reading));
    const found = rows(reading);
    found.catch(() => undefined); // that there is no such day comes first
    const day = await reading;
    const all = await found;
    // What was read of the rows may be older than the day.
    return new Tagged(tag(all[0]?.version ?? day.version), () => all);
  }

  private get stores() {
    return this.runtime.stores;
  }

  private get zone(): string {
    return this.runtime.config.kpiTimeZone;
  }
}

function noGenre(genre: string, date: string): ProblemError {
  const name = JSON.stringify(genre);
  return new ProblemError(404, 'genre-not-found', `there are no listens of genre ${name} on ${date}`);
}
