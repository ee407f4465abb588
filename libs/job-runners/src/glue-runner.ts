import {
  BatchStopJobRunCommand,
  ConcurrentRunsExceededException,
  EntityNotFoundException,
  GetJobRunCommand,
  type GlueClient,
  type JobRun,
  type JobRunState,
  ResourceNumberLimitExceededException,
  StartJobRunCommand,
  paginateGetJobRuns,
} from '@aws-sdk/client-glue';
import type { ObjectStore } from '@music/storage';
import type { JobRunner, JobStart, JobStatus, KpiJob } from './job-runner';
import { finishSparkJob, prepareSparkJob } from './spark-job';

export interface GlueRunnerOptions {
  readonly jobName: string;
  readonly region: string;
  /** A job run that takes longer is stopped. Minutes. */
  readonly timeoutMinutes: number;
}

/** What each state of Glue means. STOPPED is no success: somebody ended the job before it was done. */
const MEANING: Record<JobRunState, 'running' | 'succeeded' | 'failed'> = {
  STARTING: 'running',
  RUNNING: 'running',
  STOPPING: 'running',
  WAITING: 'running',
  SUCCEEDED: 'succeeded',
  STOPPED: 'failed',
  FAILED: 'failed',
  ERROR: 'failed',
  TIMEOUT: 'failed',
  EXPIRED: 'failed',
};

/** How far back a run's job is looked for, newest first. Glue keeps 90 days of them. */
const RUNS_LOOKED_AT = 1_000;
/** Glue enforces its own limit; only a job that it does not end is stopped from here. */
const OVERTIME_MINUTES = 5;

/** Runs KPI jobs on AWS Glue. A job lives there, whatever becomes of this process. */
export class GlueRunner implements JobRunner {
  readonly engine = 'glue';

  constructor(
    /** Must not repeat a StartJobRun whose reply was lost: make it with `maxAttempts: 1`. */
    private readonly glue: GlueClient,
    private readonly store: ObjectStore,
    private readonly options: GlueRunnerOptions,
  ) {}

  /**
   * A job run of the same arguments that is under way or succeeded is adopted: a process that died between start and
   * save, or never saw the reply, starts no second one. Throws as Glue does.
   */
  async start(job: KpiJob): Promise<JobStart> {
    const args = glueArguments(await prepareSparkJob(this.store, job));
    try {
      const before = await this.find(args);
      if (before !== undefined) return { jobRunId: before };
      const { JobRunId } = await this.glue.send(
        new StartJobRunCommand({
          JobName: this.options.jobName,
          Arguments: args,
          Timeout: this.options.timeoutMinutes,
        }),
      );
      if (JobRunId === undefined) throw new Error('Glue started a job run and gave no id');
      return { jobRunId: JobRunId };
    } catch (error) {
      if (error instanceof EntityNotFoundException)
        throw new Error(
          `there is no Glue job ${this.options.jobName}: run \`music-kpis setup --glue\` (${error.message})`,
          {
            cause: error,
          },
        );
      if (isBusy(error)) return { busy: `${(error as Error).name}: ${(error as Error).message}` };
      throw error;
    }
  }

  async poll(job: KpiJob, jobRunId: string): Promise<JobStatus> {
    let run: JobRun | undefined;
    try {
      ({ JobRun: run } = await this.glue.send(
        new GetJobRunCommand({ JobName: this.options.jobName, RunId: jobRunId }),
      ));
    } catch (error) {
      if (error instanceof EntityNotFoundException) return { state: 'lost' };
      if (isBusy(error)) return { state: 'running' }; // it goes on, whether it can be seen or not
      throw error;
    }
    const state = run?.JobRunState;
    if (run === undefined || state === undefined) throw new Error(`Glue told no state of job run ${jobRunId}`);
    const logs = this.logsOf(jobRunId);
    const failed = (message: string): JobStatus => ({ state: 'failed', message, lasting: true, logs });
    if (MEANING[state] === 'succeeded')
      return { state: 'succeeded', summary: await finishSparkJob(this.store, job, this.engine), logs };
    // A state that is not known here is taken for one that does not end: the time limit ends it.
    if (MEANING[state] !== 'failed') return (await this.stopOvertime(run, jobRunId)) ?? { state: 'running', logs };
    if (state === 'STOPPED') return failed('STOPPED: somebody stopped the job before it was done');
    if (state === 'TIMEOUT')
      return failed(`TIMEOUT: the job took longer than ${run.Timeout ?? this.options.timeoutMinutes} minutes`);
    return failed(`${state}: ${run.ErrorMessage ?? 'Glue gave no message'}`);
  }

  async close(): Promise<void> {
    this.glue.destroy();
  }

  /** The newest job run of these arguments that did not fail. */
  private async find(args: Record<string, string>): Promise<string | undefined> {
    let looked = 0;
    for await (const page of paginateGetJobRuns(
      { client: this.glue, pageSize: 100 },
      { JobName: this.options.jobName },
    )) {
      for (const { Id, Arguments, JobRunState: state } of page.JobRuns ?? []) {
        const same = Object.entries(args).every(([name, value]) => Arguments?.[name] === value);
        if (same && state !== undefined && MEANING[state] !== 'failed') return Id;
      }
      looked += page.JobRuns?.length ?? 0;
      if (looked >= RUNS_LOOKED_AT) return undefined;
    }
    return undefined;
  }

  private async stopOvertime({ StartedOn, JobRunState }: JobRun, jobRunId: string): Promise<JobStatus | undefined> {
    const { jobName, timeoutMinutes } = this.options;
    const minutes = StartedOn === undefined ? 0 : (Date.now() - StartedOn.getTime()) / 60_000;
    if (minutes <= timeoutMinutes + OVERTIME_MINUTES) return undefined;
    await this.glue.send(new BatchStopJobRunCommand({ JobName: jobName, JobRunIds: [jobRunId] }));
    const message = `it was ${JobRunState} for ${Math.floor(minutes)} minutes, longer than the limit of ${timeoutMinutes}, and was told to stop`;
    return { state: 'failed', message, lasting: true, logs: this.logsOf(jobRunId) };
  }

  private logsOf(jobRunId: string): string {
    const { region, jobName } = this.options;
    return `https://${region}.console.aws.amazon.com/gluestudio/home?region=${region}#/job/${encodeURIComponent(jobName)}/run/${encodeURIComponent(jobRunId)}`;
  }
}

/** Glue's job arguments carry their dashes. */
export const glueArguments = (args: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(args).map(([name, value]) => [`--${name}`, value]));

function isBusy(error: unknown): boolean {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  return (
    error instanceof ConcurrentRunsExceededException ||
    error instanceof ResourceNumberLimitExceededException ||
    /Throttl|TooManyRequests|RequestLimitExceeded/.test(name ?? '') ||
    $metadata?.httpStatusCode === 429
  );
}
