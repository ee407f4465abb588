import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { describeError } from '@music/errors';
import type { Work, WorkOutcome } from '@music/runs';

/** A span under way. */
export interface OpenSpan {
  /** What makes others a child of it. */
  readonly traceparent: string;
  tell(attributes: Readonly<Record<string, string | number>>): void;
  fail(message: string): void;
  end(): void;
}

/**
 * Spans of a stage's work, in the trace that its messages carry, sent by OTLP where OTEL_EXPORTER_OTLP_ENDPOINT says.
 */
export class Tracing {
  private readonly provider: BasicTracerProvider | undefined;
  private readonly tracer: Tracer | undefined;

  /** Without an endpoint nothing is recorded; messages carry their trace all the same. */
  constructor(
    private readonly stage: string,
    env: NodeJS.ProcessEnv,
  ) {
    if (!env['OTEL_EXPORTER_OTLP_ENDPOINT'] && !env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) return;
    this.provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': `music-${stage}`, 'service.namespace': 'music-pipeline' }),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: 1_000 })],
    });
    this.tracer = this.provider.getTracer('music-pipeline');
  }

  /** Does a piece of work within a span; what it sends is a child of that. */
  async within(work: Work, perform: (work: Work) => Promise<WorkOutcome>): Promise<WorkOutcome> {
    const { event, headers } = work;
    const batch: Record<string, number> = 'batch' in event.data ? { 'music.batch': Number(event.data.batch) } : {};
    const span = this.begin(`${this.stage} ${event.topic}`, SpanKind.CONSUMER, headers['traceparent'], {
      'music.run_id': event.data.runId,
      ...batch,
      'messaging.system': 'kafka',
      'messaging.destination.name': event.topic,
    });
    if (span === undefined) return perform(work);
    try {
      return await perform({ ...work, headers: { ...headers, traceparent: span.traceparent } });
    } catch (error) {
      span.fail(describeError(error, 300));
      throw error;
    } finally {
      span.end();
    }
  }

  /** Begins a span, a child of what `traceparent` names; undefined where nothing is recorded. */
  begin(
    name: string,
    kind: SpanKind,
    traceparent: string | undefined,
    attributes: Readonly<Record<string, string | number>>,
  ): OpenSpan | undefined {
    const span = this.tracer?.startSpan(name, { kind, attributes: { ...attributes } }, parentOf(traceparent));
    if (span === undefined) return undefined;
    const { traceId, spanId } = span.spanContext();
    return {
      traceparent: `00-${traceId}-${spanId}-01`,
      tell: (more) => void span.setAttributes({ ...more }),
      fail: (message) => void span.setStatus({ code: SpanStatusCode.ERROR, message }),
      end: () => span.end(),
    };
  }

  /** Sends what was not sent yet. */
  async close(): Promise<void> {
    await this.provider?.shutdown();
  }
}

function parentOf(traceparent: string | undefined) {
  const [, traceId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? '') ?? [];
  if (traceId === undefined || spanId === undefined) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
}
