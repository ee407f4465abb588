import { GetJobRunCommand, GlueClient } from '@aws-sdk/client-glue';
import { GlueEndpoint } from '@music/local-stack';
import { setUpGlueJob } from './glue-job-definition';
import { GlueRunner } from './glue-runner';
import type { KpiJob } from './job-runner';
import { KpiJobFixture } from './kpi-job.fixture';

const SETTINGS = {
  jobName: 'music-kpis',
  roleArn: 'arn:aws:iam::123456789012:role/music-kpis',
  workerType: 'G.1X',
  workers: 2,
  timeoutMinutes: 10,
};

describe('a KPI job on Glue', () => {
  let fixture: KpiJobFixture;
  let glue: GlueEndpoint;
  let client: GlueClient;
  let runner: GlueRunner;
  let job: KpiJob;
  let n = 0;

  beforeAll(async () => {
    fixture = await KpiJobFixture.start();
  });
  afterAll(() => fixture.stop());
  beforeEach(async () => {
    glue = await GlueEndpoint.start(fixture.stack.env);
    client = new GlueClient({
      endpoint: glue.url,
      region: 'us-east-1',
      credentials: { accessKeyId: 'x', secretAccessKey: 'x' },
      maxAttempts: 1,
    });
    await setUpGlueJob(client, fixture.store, 'lake', SETTINGS);
    runner = new GlueRunner(client, fixture.store, { jobName: 'music-kpis', region: 'us-east-1', timeoutMinutes: 10 });
    job = await jobOf(`r${(n += 1)}`);
  });
  afterEach(async () => {
    await runner.close();
    await glue.stop();
  });

  const jobOf = async (runId: string) =>
    fixture.place(await fixture.job(runId, [['u1', 't1', '2024-06-25 10:00:00']], [['t1', 'pop', 'One', 1, 1]]));
  const start = async () => ((await runner.start(job)) as { jobRunId: string }).jobRunId;

  it('is found again by its arguments when the reply to its start was lost', async () => {
    glue.inject('lose-reply', 'wait');
    await expect(runner.start(job)).rejects.toThrow();
    const [adopted, again] = [await start(), await start()];
    expect(glue.runs.map(({ Id }) => Id)).toEqual([adopted]);
    expect(again).toBe(adopted);
    Object.assign(glue.runs[0] ?? {}, { JobRunState: 'SUCCEEDED' });
    expect(await start()).toBe(adopted);
    // In a later turn the lake may have other listens.
    glue.inject('wait');
    expect(await runner.start({ ...job, version: 2 })).toEqual({ jobRunId: expect.not.stringContaining(adopted) });
    expect(await runner.start(await jobOf('other'))).toEqual({
      busy: expect.stringContaining('ConcurrentRunsExceeded'),
    });
  });

  it('waits where Glue has no room or no time for it', async () => {
    glue.inject('concurrent');
    expect(await runner.start(job)).toEqual({ busy: expect.stringMatching(/^ConcurrentRunsExceededException: /) });
    glue.inject('throttle');
    expect(await runner.start(job)).toEqual({ busy: expect.stringMatching(/^ThrottlingException: /) });
    glue.inject('wait');
    const id = await start();
    glue.inject('throttle');
    expect(await runner.poll(job, id)).toEqual({ state: 'running' });
  });

  it.each([
    ['fail', /^FAILED: An error occurred while calling/],
    ['stop', /^STOPPED: somebody stopped the job/],
    ['timeout', /^TIMEOUT: the job took longer than 10 minutes/],
  ] as const)(
    'that ends in %s is no success, says why and where its logs are, and can be started again',
    async (fault, message) => {
      glue.inject(fault);
      const id = await start();
      expect(await runner.poll(job, id)).toEqual({
        state: 'failed',
        lasting: true,
        message: expect.stringMatching(message),
        logs: `https://us-east-1.console.aws.amazon.com/gluestudio/home?region=us-east-1#/job/music-kpis/run/${id}`,
      });
      glue.inject('wait');
      expect(await start()).not.toBe(id);
    },
  );

  it('that does not end in time is stopped', async () => {
    glue.inject('wait');
    const id = await start();
    expect(await runner.poll(job, id)).toMatchObject({ state: 'running' });
    Object.assign(glue.runs[0] ?? {}, { StartedOn: Date.now() / 1_000 - 16 * 60 });
    expect(await runner.poll(job, id)).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('limit of 10'),
    });
    const { JobRun } = await client.send(new GetJobRunCommand({ JobName: 'music-kpis', RunId: id }));
    expect(JobRun?.JobRunState).toBe('STOPPED');
  });

  it('is lost where Glue does not know it, and says what to do where there is no job at all', async () => {
    expect(await runner.poll(job, 'jr_none')).toEqual({ state: 'lost' });
    glue.jobs.clear();
    await expect(runner.start(job)).rejects.toThrow(/there is no Glue job music-kpis: run `music-kpis setup --glue`/);
  });

  it('is defined once, and again only where something changed', async () => {
    expect(await setUpGlueJob(client, fixture.store, 'lake', SETTINGS)).toBe('unchanged');
    expect(await setUpGlueJob(client, fixture.store, 'lake', { ...SETTINGS, workers: 5 })).toBe('updated');
    expect(glue.jobs.get('music-kpis')).toMatchObject({ NumberOfWorkers: 5, GlueVersion: '5.0', MaxRetries: 0 });
    glue.jobs.clear();
    expect(await setUpGlueJob(client, fixture.store, 'lake', SETTINGS)).toBe('created');
  });
});
