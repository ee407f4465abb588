import { createParser } from 'eventsource-parser';
import { ApiError, call } from './client';

export interface StreamListener {
  /** Told of each event. */
  onEvent(event: string, data: unknown): void;
  /** Told when the connection comes and goes. */
  onState(connected: boolean): void;
}

const RETRY_MS = { first: 1_000, most: 30_000 };

/** Follows a stream of events until `stop`, over lost connections, from where it was left. */
export function follow(path: string, listener: StreamListener): { stop(): void } {
  const ended = new AbortController();
  void (async () => {
    let last: string | undefined;
    let pause = RETRY_MS.first;
    while (!ended.signal.aborted) {
      try {
        await read(path, last, ended.signal, {
          onEvent: (event, data, id) => {
            last = id ?? last;
            listener.onEvent(event, data);
          },
          onState: (connected) => {
            if (connected) pause = RETRY_MS.first;
            listener.onState(connected);
          },
        });
      } catch (error) {
        if (ended.signal.aborted) return;
        // Who may not, or what is not there, will not be by asking again.
        if (error instanceof ApiError && !error.passes) return listener.onState(false);
      }
      listener.onState(false);
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(RETRY_MS.most, pause * 2);
    }
  })();
  return { stop: () => ended.abort() };
}

async function read(
  path: string,
  last: string | undefined,
  signal: AbortSignal,
  listener: { onEvent(event: string, data: unknown, id?: string): void; onState(connected: boolean): void },
): Promise<void> {
  const headers = { accept: 'text/event-stream', ...(last === undefined ? {} : { 'last-event-id': last }) };
  const answer = await call(path, { headers, signal });
  listener.onState(true);
  const parser = createParser({
    onEvent: ({ event = 'message', data, id }) => listener.onEvent(event, JSON.parse(data), id),
  });
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done = true, value = '' } = (await reader?.read()) ?? {};
    if (done) return;
    parser.feed(value);
  }
}
