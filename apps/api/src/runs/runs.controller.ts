import { RUN_ID, RUN_KINDS, type RunKind, STAGES, type Stage } from '@music/events';
import { isOfRun } from '@music/messaging';
import { type FileReport, freshness, runEvents, runFiles, runRow, runView } from '@music/reports';
import { RUN_STATES, type RunPlace, type RunState } from '@music/runs';
import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiRuntime } from '../api-runtime';
import type { ApiRequest } from '../auth/caller';
import { Needs } from '../auth/needs';
import { AnswersOne, AnswersRows } from '../http/answer';
import { cursorTo, placeOf } from '../http/cursor';
import { linkNext } from '../http/link';
import { AreSomeOf, IsLimit, IsOneOf, IsText, IsTime } from '../http/params';
import { ProblemError } from '../http/problem';
import { DeadLetterBox } from './dead-letter-box';
import { withinPatience } from './patience';
import {
  CallerModel,
  DeadLetterRowModel,
  EventRowModel,
  FILE_STATES,
  FileRowModel,
  FreshnessModel,
  RunModel,
  RunRowModel,
  fileRow,
} from './run-models';

/** Runs that one request looks at: a filter that hardly any run fits must not read them all. */
const RUNS_LOOKED_AT = 1_000;
const MOST_DEAD_LETTERS = 1_000;

export class RunParams {
  @IsText(100, 'Id of a run.', { required: true, pattern: RUN_ID }) readonly id!: string;
}

class RunsQuery {
  @IsOneOf(RUN_STATES, 'Only those in this state.') readonly state?: RunState;
  @IsOneOf(RUN_KINDS, 'Only those that this asked for.') readonly kind?: RunKind;
  @IsTime('Only those asked for at or after this time; a day is one of UTC.') readonly from?: string;
  @IsTime('Only those asked for at or before this time; a day is one of UTC, to its end.') readonly to?: string;
  @IsLimit(100, 50, 'How many.') readonly limit: number = 50;
  @IsText(2_048, 'Where to go on, of the `Link` of the page before.') readonly cursor?: string;
}

class FilesQuery {
  @AreSomeOf(FILE_STATES, 'Only those in these states.') readonly state?: readonly FileReport['state'][];
  @IsLimit(500, 100, 'How many.') readonly limit: number = 100;
  @IsText(2_048, 'Where to go on, of the `Link` of the page before.') readonly cursor?: string;
}

class EventsQuery {
  @IsLimit(1_000, 200, 'How many, the oldest first.') readonly limit: number = 200;
}

class DeadLettersQuery {
  @IsText(100, 'Only those of this run.', { pattern: RUN_ID }) readonly run?: string;
  @IsOneOf(STAGES, 'Only those of this stage.') readonly stage?: Stage;
}

/** What goes on in the pipeline. */
@Controller('v1')
@Needs('reader')
@ApiTags('operation')
export class RunsController {
  constructor(
    private readonly runtime: ApiRuntime,
    private readonly letters: DeadLetterBox,
  ) {}

  @Get('runs')
  @ApiOperation({ operationId: 'listRuns', summary: 'Runs, newest first' })
  @AnswersRows(RunRowModel, 'A row a run. A page may have fewer than `limit`, also none, and another after it.', {
    paged: true,
  })
  async runs(@Query() query: RunsQuery, @Res({ passthrough: true }) response: Response): Promise<RunRowModel[]> {
    const { state, kind, from, to, limit, cursor } = query;
    let after: RunPlace | undefined = cursor === undefined ? undefined : placeOf<RunPlace>(cursor, query, isRunPlace);
    const span = { from: from === undefined ? undefined : startOf(from), to: to === undefined ? undefined : endOf(to) };
    const rows: RunRowModel[] = [];
    for (let looked = 0; looked < RUNS_LOOKED_AT; looked += limit) {
      const page = await this.runtime.stores.runs.pageOfRuns({ limit, after, where: { state, kind }, ...span });
      for (const run of page.runs) {
        rows.push(runRow(run));
        after = { runId: run.runId, requestedAt: run.requestedAt };
        // The place is the run's own, where a page has more than are wanted.
        if (rows.length === limit) return next(rows, page.runs.at(-1) === run ? page.next : after);
      }
      after = page.next;
      if (after === undefined) return rows;
    }
    return next(rows, after);

    function next(found: RunRowModel[], place: RunPlace | undefined): RunRowModel[] {
      if (place !== undefined) linkNext(response, cursorTo(place, query));
      return found;
    }
  }

  @Get('runs/:id')
  @ApiOperation({ operationId: 'getRun', summary: 'All that a run can tell but its files' })
  @AnswersOne(RunModel, 'The run.')
  async run(@Param() { id }: RunParams): Promise<unknown> {
    const { stores, config } = this.runtime;
    return (await runView(stores, id, config.stallMinutes * 60_000)) ?? noRun(id);
  }

  @Get('runs/:id/files')
  @ApiOperation({ operationId: 'listFiles', summary: 'What became of the files that a run found' })
  @AnswersRows(FileRowModel, 'A row a file. A page may have fewer than `limit`, also none, and another after it.', {
    paged: true,
  })
  async files(@Param() { id }: RunParams, @Query() query: FilesQuery, @Res({ passthrough: true }) response: Response) {
    const { state, limit, cursor } = query;
    const of = { id, state, limit };
    const after = cursor === undefined ? 0 : placeOf<{ after: number }>(cursor, of, isFilePlace).after;
    const states = state === undefined ? undefined : new Set(state);
    const page = (await runFiles(this.runtime.stores, id, { limit, after, states })) ?? noRun(id);
    if (page.next !== undefined) linkNext(response, cursorTo({ after: page.next }, of));
    return page.files.map(fileRow);
  }

  @Get('runs/:id/events')
  @ApiOperation({ operationId: 'listEvents', summary: 'The stage events of a run, as the topics still keep them' })
  @AnswersRows(EventRowModel, 'A row an event, the oldest first.')
  async events(@Param() { id }: RunParams, @Query() { limit }: EventsQuery): Promise<EventRowModel[]> {
    const run = (await this.runtime.stores.runs.findRun(id)) ?? noRun(id);
    const found = await withinPatience(runEvents(this.runtime.stores, run, limit));
    return found.map(({ topic, key, partition, offset, timestamp, value }) => ({
      at: new Date(Number(timestamp)).toISOString(),
      topic,
      key,
      partition,
      offset,
      event: value,
    }));
  }

  @Get('dead-letters')
  @ApiOperation({ operationId: 'listDeadLetters', summary: 'Messages that a stage gave up on and nobody put back' })
  @AnswersRows(DeadLetterRowModel, `The newest ${MOST_DEAD_LETTERS}, the oldest of them first.`)
  async deadLetters(@Query() { run, stage }: DeadLettersQuery): Promise<DeadLetterRowModel[]> {
    const open = (await this.letters.open()).filter(
      (letter) =>
        (run === undefined || isOfRun(letter.message.key, run)) && (stage === undefined || letter.stage === stage),
    );
    return open.slice(-MOST_DEAD_LETTERS).map(({ stage: of, topic, message, at, reason }) => ({
      stage: of,
      topic,
      key: message.key,
      at,
      reason,
    }));
  }

  @Get('freshness')
  @ApiOperation({ operationId: 'freshness', summary: 'How far the numbers are, and what waits' })
  @AnswersOne(FreshnessModel, 'As it is now.')
  async freshness(): Promise<unknown> {
    const { stores, config, logger } = this.runtime;
    const [fresh, letters] = await Promise.all([
      freshness(stores, config),
      this.letters.open().catch((error: unknown) => {
        logger.warn({ error: String(error) }, 'dead letters cannot be told');
        return undefined;
      }),
    ]);
    return { ...fresh, dead_letters: letters?.length };
  }

  @Get('me')
  @ApiOperation({ operationId: 'whoAmI', summary: 'Who the API takes the caller for' })
  @AnswersOne(CallerModel, 'The caller.')
  me(@Req() { caller }: ApiRequest): CallerModel {
    return { name: caller?.name ?? '', role: caller?.role ?? '', time_zone: this.runtime.config.kpiTimeZone };
  }
}

export function noRun(id: string): never {
  throw new ProblemError(404, 'run-not-found', `there is no run ${id}`);
}

const isRunPlace = ({ runId, requestedAt }: Partial<Record<keyof RunPlace, unknown>>): boolean =>
  typeof runId === 'string' && RUN_ID.test(runId) && typeof requestedAt === 'string' && requestedAt.length < 40;
const isFilePlace = ({ after }: { after?: unknown }): boolean => Number.isSafeInteger(after) && Number(after) > 0;

/** A time as runs have theirs: UTC with milliseconds. */
const startOf = (time: string): string => new Date(time).toISOString();
const endOf = (time: string): string =>
  time.length === 'YYYY-MM-DD'.length ? new Date(Date.parse(time) + 86_400_000 - 1).toISOString() : startOf(time);
