import { BatchCombined, type Envelope } from '@music/events';
import { MessageContext } from '@music/messaging';
import { StageWorker } from '@music/runs';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';

@Controller()
export class ValidatorController {
  constructor(private readonly worker: StageWorker) {}

  /** Remembers that a batch is to be judged. */
  @EventPattern<string>(BatchCombined.topic)
  handle(@Payload() event: Envelope<BatchCombined>, @Ctx() context: MessageContext): Promise<void> {
    return this.worker.accept(event, context.headers);
  }
}
