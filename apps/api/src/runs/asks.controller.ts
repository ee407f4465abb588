import { createHash } from 'node:crypto';
import { RERUN_STAGES, type RerunStage } from '@music/events';
import { lakeDates } from '@music/lake';
import {
  type Asker,
  backfillDays,
  requestBackfill,
  requestReplay,
  requestRerun,
  requestRun,
  yesterday,
} from '@music/reports';
import { Body, Controller, Headers, HttpCode, Param, Post, Req } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiTags } from '@nestjs/swagger';
import { IsBoolean, IsOptional } from 'class-validator';
import { ApiProperty } from '@nestjs/swagger';
import { ApiRuntime } from '../api-runtime';
import type { ApiRequest } from '../auth/caller';
import { Needs } from '../auth/needs';
import { AnswersOne } from '../http/answer';
import { IsDay, IsOneOf } from '../http/params';
import { ProblemError } from '../http/problem';
import { withinPatience } from './patience';
import { AskedModel, BackfillModel } from './run-models';
import { RunParams, noRun } from './runs.controller';

const KEY = /^[\x21-\x7e]{8,200}$/;
const IDEMPOTENCY_KEY = 'Idempotency-Key';
const NOT_YET = 'Until the sensor has taken it up, `GET /v1/runs/{id}` answers 404.';

const AsksOnce = ApiHeader({
  name: 'Idempotency-Key',
  required: false,
  description: 'Identifies this time of asking, of one caller: the same key asks once, however often it is sent.',
  schema: { type: 'string', pattern: KEY.source },
});

function IsFlag(description: string): PropertyDecorator {
  const checks = [IsOptional(), IsBoolean({ message: 'must be true or false' })];
  return (target, property) => {
    for (const check of checks) check(target, property);
    ApiProperty({ type: Boolean, required: false, default: false, description })(target, property);
  };
}

class RunBody {
  @IsDay('Its logical date (default: yesterday in KPI_TIME_ZONE).') readonly date?: string;
  @IsFlag('Judge the source as it is now: without files the run is skipped at once, not at its deadline.')
  readonly now?: boolean;
  @IsFlag('The run of the schedule: one a date, however often it is asked for.') readonly scheduled?: boolean;
  @IsFlag('Take files, too, that earlier runs took or rejected; no listen counts twice.') readonly force?: boolean;
}

class BackfillBody {
  @IsDay('First day.', { required: true }) readonly from!: string;
  @IsDay('Last day.', { required: true }) readonly to!: string;
  @IsFlag('Only tell which days that would be.') readonly dry_run?: boolean;
}

class RerunBody {
  @IsOneOf(RERUN_STAGES, 'Where to begin.', { required: true }) readonly from_stage!: RerunStage;
}

/** What operators ask for. Answered once Kafka has it, so that nothing which was answered is lost. */
@Controller('v1')
@Needs('operator')
@ApiTags('asking')
export class AsksController {
  constructor(private readonly runtime: ApiRuntime) {}

  @Post('runs')
  @HttpCode(202)
  @AsksOnce
  @ApiOperation({ operationId: 'askForRun', summary: 'Ask for a run' })
  @AnswersOne(AskedModel, `It is asked for. ${NOT_YET}`, 202)
  async run(@Body() body: RunBody, @Req() request: ApiRequest, @Headers(IDEMPOTENCY_KEY) key?: string) {
    const { stores, config } = this.runtime;
    const asker = this.askerOf(request, 'runs', key);
    const { scheduled, now: immediately = false, force = false } = body;
    const known =
      asker.askId === undefined || scheduled ? undefined : await stores.runs.findRun(`manual__${asker.askId}`);
    const logicalDate = body.date ?? known?.logicalDate ?? yesterday(config.kpiTimeZone);
    if (
      known !== undefined &&
      (known.logicalDate !== logicalDate || known.immediately !== immediately || (known.force ?? false) !== force)
    )
      throw otherRequest(known.runId);
    const run_id = await withinPatience(requestRun(stores, { logicalDate, scheduled, immediately, force }, asker));
    return { run_id };
  }

  @Post('backfills')
  @HttpCode(202)
  @AsksOnce
  @ApiOperation({
    operationId: 'askForBackfill',
    summary: 'Ask for days of the lake to be computed again, with songs and users as they are now; or only for which',
  })
  @AnswersOne(BackfillModel, `It is asked for, or would be. ${NOT_YET}`, 202)
  async backfill(
    @Body() { from, to, dry_run }: BackfillBody,
    @Req() request: ApiRequest,
    @Headers(IDEMPOTENCY_KEY) key?: string,
  ) {
    const { stores, config } = this.runtime;
    if (from > to) throw new ProblemError(400, 'invalid-request', `\`from\` ${from} is after \`to\` ${to}`);
    const dates = await lakeDates(stores.objects, config.lakeBucket, from, to);
    if (dates.length === 0)
      throw new ProblemError(409, 'nothing-to-compute', `the lake has no listens from ${from} to ${to}`);
    const days = await backfillDays(stores, dates);
    const preview = {
      days: days.map(({ date, listen_count, version, run_id }) => ({ date, listen_count, version, run_id })),
      listen_count: days.reduce((sum, { listen_count = 0 }) => sum + listen_count, 0),
    };
    if (dry_run) return preview;
    const asker = this.askerOf(request, `backfills/${from}`, key);
    const known =
      asker.askId === undefined ? undefined : await stores.runs.findRun(`backfill__${from}__${asker.askId}`);
    if (known !== undefined && known.backfill?.to !== to) throw otherRequest(known.runId);
    return { run_id: await withinPatience(requestBackfill(stores, from, to, asker)), ...preview };
  }

  @Post('runs/:id/rerun')
  @HttpCode(202)
  @AsksOnce
  @ApiOperation({
    operationId: 'askForRerun',
    summary: 'Ask for a run that was rejected or failed to begin again, with what its earlier stages left',
  })
  @AnswersOne(AskedModel, 'It is asked for.', 202)
  async rerun(
    @Param() { id }: RunParams,
    @Body() body: RerunBody,
    @Req() request: ApiRequest,
    @Headers(IDEMPOTENCY_KEY) key?: string,
  ) {
    const { stores } = this.runtime;
    if ((await stores.runs.findRun(id)) === undefined) noRun(id);
    const asker = this.askerOf(request, `rerun/${id}`, key);
    return { run_id: id, ask_id: await withinPatience(requestRerun(stores, id, body.from_stage, asker)) };
  }

  @Post('runs/:id/replay')
  @HttpCode(202)
  @AsksOnce
  @ApiOperation({
    operationId: 'askForReplay',
    summary: 'Ask for the dead letters of a run to be put back, so that it goes on',
  })
  @AnswersOne(AskedModel, 'It is asked for.', 202)
  async replay(@Param() { id }: RunParams, @Req() request: ApiRequest, @Headers(IDEMPOTENCY_KEY) key?: string) {
    const { stores } = this.runtime;
    if ((await stores.runs.findRun(id)) === undefined) noRun(id);
    const asker = this.askerOf(request, `replay/${id}`, key);
    return { run_id: id, ask_id: await withinPatience(requestReplay(stores, id, asker)) };
  }

  /** `about`: what a key is for, so that one which is used for something else is another. */
  private askerOf({ caller, headers }: ApiRequest, about: string, key: string | undefined): Asker & { name: string } {
    if (key !== undefined && !KEY.test(key))
      throw new ProblemError(400, 'invalid-request', 'Idempotency-Key must have 8 to 200 printable characters', {
        errors: [{ field: 'Idempotency-Key', detail: 'must have 8 to 200 printable characters' }],
      });
    const name = caller?.name ?? '';
    const traceparent = headers['traceparent'];
    return {
      through: 'api',
      name,
      askId: key === undefined ? undefined : idOf(`${name}\n${about}\n${key}`),
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    };
  }
}

function otherRequest(runId: string): ProblemError {
  return new ProblemError(
    422,
    'key-used-before',
    `this Idempotency-Key asked for ${runId} with other fields; use another key`,
  );
}

/** 26 characters of Crockford's alphabet, as ids of runs end with, the same for the same text. */
function idOf(text: string): string {
  const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  const hash = createHash('sha256').update(text).digest();
  return Array.from({ length: 26 }, (_, i) => digits[(hash[i] ?? 0) % digits.length]).join('');
}
