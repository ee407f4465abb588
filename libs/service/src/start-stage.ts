import { rm } from 'node:fs/promises';
import { describeError } from '@music/errors';
import { type Stage, consumerGroup, runKind } from '@music/events';
import { KafkaTransport, Outbox } from '@music/messaging';
import { StageWorker, type Work, type WorkOutcome, failRun } from '@music/runs';
import { Catch, type DynamicModule, type ExceptionFilter, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { throwError } from 'rxjs';
import { Health } from './health';
import { type Logger, nestLogger, serviceLogger } from './logger';
import { endOnSignals } from './end-on-signals';
import { StageMetrics } from './metrics';
import { openScratch } from './scratch';
import type { ServiceConfig } from './service-config';
import { WrongSettings, loadSettings, settingsOrExit } from './settings';
import { type Stores, openStores } from './stores';
import { Tracing } from './tracing';
import { watchBacklog } from './watch-backlog';
import { watchRuns } from './watch-runs';

/** A stage's work: idempotent, and long only beside its handlers. */
export abstract class StagePerformer {
  abstract perform(work: Work): Promise<WorkOutcome>;
  /** What keeps the stage from being ready, besides its servers. */
  get problems(): readonly string[] {
    return [];
  }
  /** Ends what goes on beside the pieces of work. */
  async close(): Promise<void> {
    // most stages have nothing of the kind
  }
}

/** What every stage's module may ask for. */
export class StageRuntime<C extends ServiceConfig = ServiceConfig> {
  constructor(
    readonly stage: Stage,
    readonly config: C,
    readonly stores: Stores,
    readonly outbox: Outbox,
    readonly logger: Logger,
    readonly metrics: StageMetrics,
    readonly tracing: Tracing,
    /** Removed when the service ends. */
    readonly scratch: string,
  ) {}
}

/** Nest would put its own error in place of a handler's; the transport needs the real one. */
@Catch()
class PassErrorsOn implements ExceptionFilter {
  catch(error: unknown) {
    return throwError(() => error);
  }
}

@Module({})
class StageRoot {
  static of(runtime: StageRuntime, config: Type<ServiceConfig>, stageModule: Type): DynamicModule {
    const providers = [
      { provide: StageRuntime, useValue: runtime },
      { provide: config, useValue: runtime.config },
    ];
    return { module: StageRoot, global: true, imports: [stageModule], providers, exports: providers };
  }
}

/** Makes the worker that the stage's controller hands its events to. */
export const stageWorker = (performer: Type<StagePerformer>) => ({
  provide: StageWorker,
  inject: [StageRuntime, performer],
  useFactory: ({ stage, config, stores, outbox, logger, metrics, tracing }: StageRuntime, work: StagePerformer) =>
    new StageWorker(
      stores.runs,
      {
        stage,
        concurrency: config.concurrency,
        leaseMs: config.leaseSeconds * 1_000,
        sweepMs: config.sweepSeconds * 1_000,
        maxAttempts: config.workAttempts,
        retryMs: 1_000,
        stallMs: config.stallMinutes * 60_000,
      },
      (piece) => tracing.within(piece, (traced) => work.perform(traced)),
      () => outbox.flush(),
      logger,
      (outcome, seconds) => metrics.work.observe({ outcome }, seconds),
    ),
});

/** Starts a stage as this process, until SIGTERM or SIGINT. Wrong settings end it at once, all of them named. */
export async function startStage(
  stage: Stage,
  configType: Type<ServiceConfig>,
  stageModule: Type,
  performer: Type<StagePerformer>,
): Promise<void> {
  const config = settingsOrExit(stage, () => {
    const settings = loadSettings(configType, process.env);
    settings.readFiles();
    // Of a container; where there is none it is 0, or more than any machine has.
    const memory = process.constrainedMemory();
    const problems = memory > 0 ? settings.memoryProblems(memory) : [];
    if (problems.length > 0) throw new WrongSettings(problems);
    return settings;
  });
  const logger = serviceLogger(stage, config.logLevel);
  const stores = openStores(config, `music-${stage}`, logger);
  const outbox = new Outbox(stores.kafka, stage, stores.runs.outbox, logger);
  const scratch = await openScratch(config.scratchDir, stage);
  const metrics = new StageMetrics(stage);
  const tracing = new Tracing(stage, process.env);
  stores.runs.onTransition = (state, runId) => metrics.observeState(state, runKind(runId));
  const transport = new KafkaTransport(
    stores.kafka,
    outbox,
    {
      stage,
      groupId: consumerGroup(stage),
      inPlaceDelaysMs: [100, 500, 2_000],
      retryDelaysMs: config.retryDelaysSeconds.map((s) => Number(s) * 1_000),
      concurrency: 4,
      sessionTimeoutMs: config.kafkaSessionSeconds * 1_000,
    },
    logger,
    (outcome, topic) => metrics.observeMessage(outcome, topic),
    (event, reason, headers) => failRun(stores.runs, stage, event, reason, headers, []),
  );
  const runtime = new StageRuntime(stage, config, stores, outbox, logger, metrics, tracing, scratch);
  const app = await NestFactory.createMicroservice(StageRoot.of(runtime, configType, stageModule), {
    strategy: transport,
    logger: nestLogger(logger),
  });
  app.useGlobalFilters(new PassErrorsOn());
  const worker = app.get(StageWorker, { strict: false });
  const work = app.get<StagePerformer>(performer, { strict: false });

  const problems = () => [
    ...(transport.ready ? [] : [['no member of its Kafka group', stores.kafkaProblem()].filter(Boolean).join(': ')]),
    ...work.problems,
    ...(worker.reachesStore ? [] : [`${config.runsTable} cannot be reached`]),
  ];
  const health = new Health(problems);
  metrics.watchReadiness(problems);
  metrics.gauge(
    'music_work_stalled',
    'Pieces of work of the stage, on all replicas, that get nowhere',
    [],
    async () => [[{}, worker.stalled]],
  );
  watchBacklog(metrics, stage, stores, () => transport.topics);
  if (stage === 'sensor') watchRuns(metrics, stores.runs, config.kpiTimeZone);
  endOnSignals(logger, async () => {
    await transport.close();
    await Promise.all([worker.stop(config.graceSeconds * 1_000), work.close()]);
    await outbox
      .flush()
      .catch((error: unknown) =>
        logger.warn({ error: describeError(error) }, 'owed events are left for the next start'),
      );
    await outbox.close();
    await Promise.all([health.close(), metrics.close(), tracing.close().catch(() => undefined)]);
    await app.close();
    stores.close();
    await rm(scratch, { recursive: true, force: true });
  });

  const healthPort = await health.listen(config.healthHost, config.healthPort);
  const metricsPort = await metrics.listen(config.healthHost, config.metricsPort);
  await app.listen();
  metrics.observeTopics(transport.topics);
  worker.start();
  logger.info({ healthPort, metricsPort }, 'started');
}
