import { RunValidated, type Envelope } from '@music/events';
import { MessageContext } from '@music/messaging';
import { StageWorker } from '@music/runs';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';

@Controller()
export class GlueTriggerController {
  constructor(private readonly worker: StageWorker) {}

  /** Remembers that a run's KPIs are to be computed. */
  @EventPattern<string>(RunValidated.topic)
  handle(@Payload() event: Envelope<RunValidated>, @Ctx() context: MessageContext): Promise<void> {
    return this.worker.accept(event, context.headers);
  }
}
