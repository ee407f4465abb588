import {
  type AskedAgain,
  type Envelope,
  type ErasureAsked,
  ReplayRequested,
  RerunRequested,
  RunRequested,
  type StandingAsked,
} from '@music/events';
import { MessageContext } from '@music/messaging';
import { RunStore, StageWorker } from '@music/runs';
import { StageRuntime } from '@music/service';
import { Controller } from '@nestjs/common';
import { instanceToPlain } from 'class-transformer';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';

@Controller()
export class SensorController {
  private readonly runs: RunStore;

  constructor(
    private readonly worker: StageWorker,
    runtime: StageRuntime,
  ) {
    this.runs = runtime.stores.runs;
  }

  /** Remembers that a run is wanted. */
  @EventPattern<string>(RunRequested.topic)
  async handle(@Payload() event: Envelope<RunRequested>, @Ctx() context: MessageContext): Promise<void> {
    const { runId, logicalDate, immediately = false, force = false, requestedBy } = event.data;
    const { backfillFrom: from, backfillTo: to, standing, erasure } = event.data;
    const backfill = from === undefined || to === undefined ? undefined : { from, to };
    await this.runs.createRun(
      {
        runId,
        logicalDate,
        immediately,
        force,
        backfill,
        standing: standing && (instanceToPlain(standing) as StandingAsked),
        erasure: erasure && (instanceToPlain(erasure) as ErasureAsked),
        requestedBy,
      },
      new Date(event.time),
    );
    await this.worker.accept(event, context.headers);
  }

  /** Remembers that a run is to begin again. */
  @EventPattern<string>(RerunRequested.topic)
  async handleRerun(@Payload() event: Envelope<RerunRequested>, @Ctx() context: MessageContext): Promise<void> {
    await this.acceptAsk(event, context);
  }

  /** Remembers that a run's dead letters are to be put back. */
  @EventPattern<string>(ReplayRequested.topic)
  async handleReplay(@Payload() event: Envelope<ReplayRequested>, @Ctx() context: MessageContext): Promise<void> {
    await this.acceptAsk(event, context);
  }

  private async acceptAsk(event: Envelope<AskedAgain>, context: MessageContext): Promise<void> {
    await this.worker.accept(event, context.headers);
  }
}
