import { mapLimited } from '@music/storage';
import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import { ApiRuntime } from '../api-runtime';
import { Needs } from '../auth/needs';
import { AnswersRows, Tagged, taggedByVersions } from '../http/answer';
import { GenreParams, IsLimit, RangeQuery, rangeOf } from '../http/params';
import { MOST_DAYS } from './days.controller';
import { GenreDayRow, GenreRow, TopGenreRow, genreDayRow, genreRows, topGenreRow } from './kpi-rows';

/** All genres of a day are one Query, so a month of them are as many as a view may take. */
const MOST_DAYS_OF_ALL = 31;
const DAYS_AT_ONCE = 8;

class TopGenresQuery extends RangeQuery {
  @IsLimit(5, 5, 'How many of each day.') readonly limit: number = 5;
}

/** Genres over time. */
@Controller('v1')
@Needs('reader')
@ApiTags('genres')
export class GenresController {
  constructor(private readonly runtime: ApiRuntime) {}

  @Get('genres')
  @ApiOperation({
    operationId: 'listGenres',
    summary: `All genres of some days, together; at most ${MOST_DAYS_OF_ALL} days`,
  })
  @AnswersRows(GenreRow, 'The most listened first.')
  async genres(@Query() query: RangeQuery) {
    const { history, kpis } = this.runtime.stores;
    const { from, to } = rangeOf(query, this.zone, MOST_DAYS_OF_ALL);
    const days = await history.days(from, to);
    const tag = taggedByVersions('genres', days).tag;
    return new Tagged(tag, async () => {
      const items = await mapLimited(days, DAYS_AT_ONCE, ({ date }) => kpis.genres(date));
      return genreRows(items.flat(), this.zone);
    });
  }

  @Get('genres/:genre/days')
  @ApiOperation({
    operationId: 'genreOverTime',
    summary: `The numbers of a genre, day by day; at most ${MOST_DAYS} days`,
  })
  @AnswersRows(GenreDayRow, 'A row for each day that has listens of the genre, ascending.')
  async genreDays(@Param() { genre }: GenreParams, @Query() query: RangeQuery) {
    const { from, to } = rangeOf(query, this.zone, MOST_DAYS);
    const items = await this.runtime.stores.history.genreDays(genre, from, to);
    return taggedByVersions(
      'genre',
      items.map((item) => genreDayRow(item, this.zone)),
    );
  }

  @Get('top-genres')
  @ApiOperation({
    operationId: 'topGenresOverTime',
    summary: `The first genres of each day; at most ${MOST_DAYS} days`,
  })
  @AnswersRows(TopGenreRow, 'By day, then by rank.')
  async topGenres(@Query() { limit, ...query }: TopGenresQuery) {
    const { from, to } = rangeOf(query, this.zone, MOST_DAYS);
    const items = await this.runtime.stores.history.topGenres(from, to, limit);
    return taggedByVersions(
      'top',
      items.map((item) => topGenreRow(item, this.zone)),
    );
  }

  private get zone(): string {
    return this.runtime.config.kpiTimeZone;
  }
}
