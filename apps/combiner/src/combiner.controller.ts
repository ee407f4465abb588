import { StreamsSensed, type Envelope } from '@music/events';
import { MessageContext } from '@music/messaging';
import { StageWorker } from '@music/runs';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';

@Controller()
export class CombinerController {
  constructor(private readonly worker: StageWorker) {}

  /** Remembers that a batch is to be combined. */
  @EventPattern<string>(StreamsSensed.topic)
  handle(@Payload() event: Envelope<StreamsSensed>, @Ctx() context: MessageContext): Promise<void> {
    return this.worker.accept(event, context.headers);
  }
}
