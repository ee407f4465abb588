import { KpisPublished, type Envelope } from '@music/events';
import { MessageContext } from '@music/messaging';
import { StageWorker } from '@music/runs';
import { Controller } from '@nestjs/common';
import { Ctx, EventPattern, Payload } from '@nestjs/microservices';

@Controller()
export class ArchiverController {
  constructor(private readonly worker: StageWorker) {}

  /** Remembers that a run's files are to be archived. */
  @EventPattern<string>(KpisPublished.topic)
  handle(@Payload() event: Envelope<KpisPublished>, @Ctx() context: MessageContext): Promise<void> {
    return this.worker.accept(event, context.headers);
  }
}
