import { randomUUID } from 'node:crypto';
import { type DuckDBLimits, loadDuckDBAhead } from '@music/duckdb';
import { describeError, isLasting } from '@music/errors';
import type { ObjectStore } from '@music/storage';
import { runDuckDBJob } from './duckdb-job';
import type { JobRunner, JobStart, JobStatus, KpiJob, KpiJobSummary } from './job-runner';
import { MODELS_VERSION } from './kpi-models';

/** Runs KPI jobs in this process. A job ends with its process and is started again by whoever takes the run over. */
export class DuckDBRunner implements JobRunner {
  readonly engine = 'duckdb';
  private readonly jobs = new Map<
    string,
    { readonly runId: string; readonly version: number; readonly ended: Promise<void>; status: JobStatus }
  >();
  private readonly stop = new AbortController();

  constructor(
    private readonly store: ObjectStore,
    private readonly scratch: string,
    private readonly limits: DuckDBLimits,
  ) {
    loadDuckDBAhead();
  }

  async start(job: KpiJob): Promise<JobStart> {
    for (const [jobRunId, { runId, version, status }] of this.jobs) {
      if (runId !== job.runId || status.state !== 'running') continue;
      return version === job.version ? { jobRunId } : { busy: `its job of turn ${version} has not ended yet` };
    }
    const id = `duckdb-${randomUUID()}`;
    let steps = 0;
    const step = (days: KpiJobSummary['days'], daysDone: number) => {
      steps += 1;
      this.note(id, {
        state: 'running',
        waited: true,
        steps,
        daysDone,
        ready: { days: [...days], engine: this.engine, sqlVersion: MODELS_VERSION },
      });
    };
    const ended = runDuckDBJob(job, this.store, this.scratch, this.limits, this.stop.signal, step).then(
      (summary) => this.note(id, { state: 'succeeded', summary }),
      (error: unknown) => this.note(id, { state: 'failed', message: describeError(error), lasting: isLasting(error) }),
    );
    this.jobs.set(id, {
      runId: job.runId,
      version: job.version,
      ended,
      status: { state: 'running', waited: true, steps },
    });
    return { jobRunId: id };
  }

  async poll(_job: KpiJob, jobRunId: string, waitMs: number): Promise<JobStatus> {
    const job = this.jobs.get(jobRunId);
    if (job === undefined) return { state: 'lost' };
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      job.ended,
      new Promise((resolve) => {
        timer = setTimeout(resolve, waitMs);
      }),
    ]);
    clearTimeout(timer);
    if (job.status.state !== 'running') this.jobs.delete(jobRunId);
    return job.status;
  }

  async close(): Promise<void> {
    this.stop.abort(new Error('the service is stopping'));
    await Promise.all([...this.jobs.values()].map(({ ended }) => ended));
  }

  private note(id: string, status: JobStatus): void {
    const job = this.jobs.get(id);
    if (job !== undefined) job.status = status;
  }
}
