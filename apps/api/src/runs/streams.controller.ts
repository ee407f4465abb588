import { describeError } from '@music/errors';
import { Controller, Get, Headers, Injectable, type OnModuleDestroy, Param, Res } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { ApiRuntime } from '../api-runtime';
import { Needs } from '../auth/needs';
import { ProblemError } from '../http/problem';
import { type Following, RunWatch, type StreamEvent } from './run-watch';
import { RunParams, noRun } from './runs.controller';

/** Proxies close what is silent for longer. */
const HEARTBEAT_MS = 15_000;
/** What clients are told to wait before they connect again. */
const RETRY_MS = 2_000;
/** A stream that was left longer ago begins anew. */
const GOES_ON_MS = 60 * 60_000;
/** A client that does not read is let go before it costs memory. */
const MOST_UNREAD_BYTES = 1 << 20;

/** The streams of events of this process. */
@Injectable()
export class Streams implements OnModuleDestroy {
  private readonly open = new Set<Response>();

  constructor(private readonly runtime: ApiRuntime) {}

  get count(): number {
    return this.open.size;
  }

  /** Answers a request with a stream until either side ends it. */
  async serve(response: Response, follow: () => Promise<Following>): Promise<void> {
    if (this.open.size >= this.runtime.config.apiStreams)
      throw new ProblemError(503, 'too-many-streams', 'this replica serves as many streams as it may', {
        retryAfterSeconds: 5,
      });
    const { events, listen } = await follow();
    if (response.destroyed) return;
    this.open.add(response);
    response.status(200).set({
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no', // nginx would keep events back
    });
    response.flushHeaders();
    response.write(`retry: ${RETRY_MS}\n\n`);
    const tell = ({ event, data }: StreamEvent) => {
      if (response.writableLength > MOST_UNREAD_BYTES) response.destroy();
      else response.write(`id: ${Date.now()}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    events.forEach(tell);
    const leave = listen(tell);
    const heartbeat = setInterval(() => response.write(': still here\n\n'), HEARTBEAT_MS);
    response.on('error', (error) => this.runtime.logger.debug({ error: describeError(error) }, 'a stream broke'));
    response.on('close', () => {
      clearInterval(heartbeat);
      leave();
      this.open.delete(response);
    });
  }

  /** Lets all go: they connect again, to another replica. */
  onModuleDestroy(): void {
    for (const response of this.open) response.end();
  }
}

const GoesOn = ApiHeader({
  name: 'Last-Event-ID',
  required: false,
  description: 'Id of the last event that the client has: the stream goes on with what has changed since.',
  schema: { type: 'string' },
});

const isStream = (description: string) =>
  ApiOkResponse({ description, content: { 'text/event-stream': { schema: { type: 'string' } } } });

/** What goes on, as server-sent events. */
@Controller('v1')
@Needs('reader')
@ApiTags('operation')
export class StreamsController {
  constructor(
    private readonly watch: RunWatch,
    private readonly streams: Streams,
  ) {}

  @Get('stream')
  @GoesOn
  @ApiOperation({ operationId: 'stream', summary: 'Runs as they move, and days as they are published' })
  @isStream(
    'Events: `runs` at first, then `run`, `days`; `away` when a store does not answer, `back` when it does again.',
  )
  async all(@Res() response: Response, @Headers('Last-Event-ID') last?: string): Promise<void> {
    await this.streams.serve(response, () => this.watch.followAll(sinceOf(last)));
  }

  @Get('runs/:id/stream')
  @GoesOn
  @ApiOperation({ operationId: 'streamRun', summary: 'A run as it moves' })
  @isStream('Events `run`, each the whole run; `away` when a store does not answer, `back` when it does again.')
  async run(@Param() { id }: RunParams, @Res() response: Response): Promise<void> {
    await this.streams.serve(response, async () => (await this.watch.followRun(id)) ?? noRun(id));
  }
}

/** When the client last heard; undefined where it never did, or too long ago. */
function sinceOf(last: string | undefined): number | undefined {
  const at = /^\d{13}$/.test(last ?? '') ? Number(last) : undefined;
  return at !== undefined && Date.now() - at < GOES_ON_MS ? at : undefined;
}
