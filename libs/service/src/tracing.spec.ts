import { type Server, createServer } from 'node:http';
import { RunValidated, envelope } from '@music/events';
import { type Work, messageOf } from '@music/runs';
import { Tracing } from './tracing';

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  status: { code?: number };
  attributes: { key: string; value: { stringValue?: string } }[];
}

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const ref = { bucket: 'b', key: 'k', etag: 'e', size: 1 };
const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
const work: Work = {
  event: envelope(RunValidated, 'spec', { runId: 'scheduled__2024-06-25', manifest: ref, passedFiles: 1, rows: 1 }),
  headers: { traceparent: `00-${TRACE}-b7ad6b7169203331-01` },
  signal: new AbortController().signal,
  log,
  progress: () => undefined,
};

describe('traces', () => {
  let collector: Server;
  let url: string;
  const spans: Span[] = [];
  beforeAll(async () => {
    collector = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const sent = JSON.parse(Buffer.concat(chunks).toString()) as {
          resourceSpans: { scopeSpans: { spans: Span[] }[] }[];
        };
        spans.push(...sent.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(collector.address() as { port: number }).port}`;
  });
  afterAll(() => {
    collector.closeAllConnections();
    collector.close();
  });

  it('have work as a child of the message that led to it, and what it sends as a child of the work', async () => {
    process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = url;
    const tracing = new Tracing('glue-trigger', process.env);
    let sent = '';
    await tracing.within(work, async (traced) => {
      sent = messageOf(traced.event, traced).headers['traceparent'] ?? '';
      return 'done';
    });
    await expect(tracing.within(work, () => Promise.reject(new Error('no room')))).rejects.toThrow('no room');
    await tracing.close();
    delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    expect(sent.split('-')[1]).toBe(TRACE);
    expect(spans).toMatchObject([
      { traceId: TRACE, parentSpanId: 'b7ad6b7169203331', name: 'glue-trigger music.run.validated' },
      { traceId: TRACE, status: { code: 2, message: expect.stringContaining('no room') } },
    ]);
    expect(spans[0]?.attributes).toContainEqual({
      key: 'music.run_id',
      value: { stringValue: 'scheduled__2024-06-25' },
    });
  });

  it('go on in the messages where nothing collects them', async () => {
    const tracing = new Tracing('sensor', {});
    await tracing.within(work, async ({ headers }) => {
      expect(headers).toBe(work.headers);
      return 'done';
    });
    await tracing.close();
  });
});
