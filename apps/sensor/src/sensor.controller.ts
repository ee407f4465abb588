import { RunRequested, type Envelope } from '@music/events';
import { MessageContext } from '@music/messaging';
import { RunStore, StageWorker } from '@music/runs';
import { StageRuntime } from '@music/service';
import { Controller } from '@nestjs/common';
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
    const { runId, logicalDate, immediately = false, force = false, backfillFrom: from, backfillTo: to } = event.data;
    const backfill = from === undefined || to === undefined ? undefined : { from, to };
    await this.runs.createRun({ runId, logicalDate, immediately, force, backfill }, new Date(event.time));
    await this.worker.accept(event, context.headers);
  }
}
