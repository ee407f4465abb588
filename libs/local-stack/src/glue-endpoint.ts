import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GetObjectCommand } from '@aws-sdk/client-s3';
import { Child } from './child-process';
import { localS3 } from './clients';
import { QUICK_START, SharedClasses } from './jvm';
import { workspaceRoot } from './workspace';

/** What the endpoint does wrong, once, to the next call that it fits. */
export type GlueFault =
  /** Refuses the call. */
  | 'throttle'
  /** Refuses StartJobRun as if another run were under way. */
  | 'concurrent'
  /** Starts the run and cuts the connection before the reply. */
  | 'lose-reply'
  /** The run ends so, without a result. */
  | 'fail'
  | 'stop'
  | 'timeout'
  /** The run stays in WAITING and does nothing. */
  | 'wait';

interface JobRun {
  readonly Id: string;
  readonly JobName: string;
  readonly Arguments: Record<string, string>;
  readonly StartedOn: number;
  readonly Timeout?: number;
  JobRunState: string;
  ErrorMessage?: string;
  process?: Child;
}
interface Job extends Record<string, unknown> {
  readonly Name: string;
  readonly Command: { readonly ScriptLocation: string };
  readonly DefaultArguments?: Record<string, string>;
  readonly ExecutionProperty?: { readonly MaxConcurrentRuns: number };
}
type Request = Record<string, unknown> & { JobName: string };

class GlueError extends Error {
  constructor(
    override readonly name: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * AWS Glue's jobs on loopback, for its real SDK client: a job run is the job's own script, fetched from the local S3
 * and run by spark-submit. Needs `node tools/set-up.mjs spark`.
 */
export class GlueEndpoint {
  readonly jobs = new Map<string, Job>();
  readonly runs: JobRun[] = [];
  readonly calls: string[] = [];
  private readonly faults: GlueFault[] = [];

  private constructor(
    private readonly server: Server,
    private readonly dir: string,
    private env: NodeJS.ProcessEnv,
    private readonly comet: boolean,
  ) {}

  /**
   * `env`: what finds the local S3, as LocalStack gives it. `comet`: jobs work on columns by native code, as Spark on
   * Kubernetes does here and AWS Glue does not.
   */
  static async start(env: Readonly<Record<string, string>>, { comet = false } = {}): Promise<GlueEndpoint> {
    const stack = path.join(workspaceRoot(), '.stack');
    const bin = path.join(stack, 'venv', 'bin');
    if (!existsSync(path.join(bin, 'spark-submit')))
      throw new Error(`PySpark is not in ${bin}: run \`node tools/set-up.mjs spark\``);
    const dir = await mkdtemp(path.join(tmpdir(), 'music-glue-'));
    const server = createServer();
    const sparkEnv = { ...process.env, ...env, PATH: `${bin}:${process.env['PATH']}`, SPARK_LOCAL_IP: '127.0.0.1' };
    const endpoint = new GlueEndpoint(server, dir, sparkEnv, comet);
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const operation = String(request.headers['x-amz-target']).replace('AWSGlue.', '');
        endpoint.answer(operation, JSON.parse(Buffer.concat(chunks).toString() || '{}') as Request).then(
          (body) => {
            if (body === undefined) request.socket.destroy();
            else response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
          },
          (error: Error) => {
            const known = error instanceof GlueError;
            response
              .writeHead(known ? 400 : 500, { 'content-type': 'application/x-amz-json-1.1' })
              .end(JSON.stringify({ __type: known ? error.name : 'InternalServiceException', Message: error.message }));
          },
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as { port: number }).port}`;
  }

  /** Has jobs find their servers elsewhere from now on. */
  callThrough(env: Readonly<Record<string, string>>): void {
    this.env = { ...this.env, ...env };
  }

  /** Does something wrong at the next call that it fits. */
  inject(...faults: GlueFault[]): void {
    this.faults.push(...faults);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await Promise.all(this.runs.map(({ process: child }) => child?.stop(2_000)));
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Resolves when the run's process has ended. */
  async ended(id: string): Promise<void> {
    await this.runs.find(({ Id }) => Id === id)?.process?.exited;
  }

  private has(fault: GlueFault): boolean {
    if (this.faults[0] !== fault) return false;
    this.faults.shift();
    return true;
  }

  /** Undefined: no reply. */
  private async answer(operation: string, request: Request): Promise<object | undefined> {
    this.calls.push(operation);
    if (this.has('throttle')) throw new GlueError('ThrottlingException', 'Rate exceeded');
    switch (operation) {
      case 'CreateJob': {
        const job = request as unknown as Job;
        if (this.jobs.has(job.Name)) throw new GlueError('AlreadyExistsException', `${job.Name} is there`);
        this.jobs.set(job.Name, job);
        return { Name: job.Name };
      }
      case 'UpdateJob':
        this.jobs.set(request.JobName, { ...(request['JobUpdate'] as Job), Name: this.job(request).Name });
        return { JobName: request.JobName };
      case 'GetJob':
        return { Job: this.job(request) };
      case 'StartJobRun': {
        const run = this.startRun(request);
        return this.has('lose-reply') ? undefined : { JobRunId: run.Id };
      }
      case 'GetJobRun':
        return { JobRun: shown(this.run(String(request['RunId']))) };
      case 'GetJobRuns':
        this.job(request);
        return {
          JobRuns: this.runs
            .filter(({ JobName }) => JobName === request.JobName)
            .map(shown)
            .reverse(),
        };
      case 'BatchStopJobRun':
        for (const id of request['JobRunIds'] as string[]) this.end(this.run(id), 'STOPPED');
        return { SuccessfulSubmissions: [], Errors: [] };
      default:
        throw new GlueError('InvalidInputException', `${operation} is not known here`);
    }
  }

  private job({ JobName }: Request): Job {
    const job = this.jobs.get(JobName);
    if (job === undefined) throw new GlueError('EntityNotFoundException', `Entity not found: job ${JobName}`);
    return job;
  }

  private run(id: string): JobRun {
    const run = this.runs.find(({ Id }) => Id === id);
    if (run === undefined) throw new GlueError('EntityNotFoundException', `Entity not found: job run ${id}`);
    return run;
  }

  private startRun(request: Request): JobRun {
    const job = this.job(request);
    const active = this.runs.filter(({ JobName, JobRunState }) => JobName === job.Name && isActive(JobRunState));
    if (this.has('concurrent') || active.length >= (job.ExecutionProperty?.MaxConcurrentRuns ?? 1))
      throw new GlueError('ConcurrentRunsExceededException', `Concurrent runs exceeded for ${job.Name}`);
    const run: JobRun = {
      Id: `jr_${randomUUID().replaceAll('-', '')}`,
      JobName: job.Name,
      Arguments: request['Arguments'] as Record<string, string>,
      Timeout: request['Timeout'] as number,
      StartedOn: Date.now() / 1_000,
      JobRunState: 'STARTING',
    };
    this.runs.push(run);
    if (this.has('fail')) this.end(run, 'FAILED', 'An error occurred while calling o100.parquet. Injected.');
    else if (this.has('stop')) this.end(run, 'STOPPED');
    else if (this.has('timeout')) this.end(run, 'TIMEOUT', 'Job run timed out');
    else if (this.has('wait')) run.JobRunState = 'WAITING';
    else
      void this.execute(run, job).catch((error: unknown) => {
        this.end(run, 'ERROR', String(error));
      });
    return run;
  }

  /** Runs the job's script as it is in S3. */
  private async execute(run: JobRun, job: Job): Promise<void> {
    const dir = path.join(this.dir, run.Id);
    await mkdir(dir);
    const root = workspaceRoot();
    await writeFile(path.join(dir, 'script.py'), await this.script(job.Command.ScriptLocation));
    await writeFile(path.join(dir, 'spark.conf'), await this.sparkSettings(path.join(root, 'glue')));
    if (run.JobRunState !== 'STARTING') return; // stopped meanwhile
    const args = Object.entries({ ...job.DefaultArguments, ...run.Arguments, '--JOB_NAME': job.Name }).flat();
    run.JobRunState = 'RUNNING';
    const classes = new SharedClasses(path.join(root, '.stack'), this.comet ? 'spark-comet-job' : 'spark-job');
    run.process = Child.spawn(
      'spark',
      'spark-submit',
      [
        ...['--master', 'local[2]', '--driver-memory', this.comet ? '1g' : '2g'],
        ...['--properties-file', path.join(dir, 'spark.conf')],
        ...['--driver-class-path', path.join(root, '.stack', 'spark', '*')],
        ...['--driver-java-options', [QUICK_START, ...classes.jvmArgs].join(' ')],
        ...['--conf', `spark.local.dir=${dir}`],
        ...['--conf', 'spark.sql.shuffle.partitions=32'], // Spark's 200 are for more than two cores
        path.join(dir, 'script.py'),
        ...args,
      ],
      { env: this.env, logFile: path.join(this.dir, `${run.Id}.log`), cwd: dir },
    );
    const how = await run.process.exited;
    classes.ended(how === 'exit code 0');
    await rm(dir, { recursive: true, force: true });
    if (run.JobRunState !== 'RUNNING') return;
    if (how === 'exit code 0') this.end(run, 'SUCCEEDED');
    else
      this.end(
        run,
        'FAILED',
        `${how}: ${run.process
          .lastLines(200)
          .split('\n')
          .filter((line) => !/ (INFO|WARN) |^\s+at |^\s*\.\.\. \d+ more/.test(line)) // the frames of Java hide what it says
          .slice(-6)
          .join('\n')}`,
      );
  }

  /** What docker/spark/entrypoint.sh gives Spark, with the settings of this S3. */
  private async sparkSettings(glue: string): Promise<string> {
    const files = ['spark-defaults.conf', ...(this.comet ? ['spark-comet.conf'] : [])];
    const texts = await Promise.all(files.map((file) => readFile(path.join(glue, file), 'utf8')));
    const s3 = {
      endpoint: this.env['AWS_ENDPOINT_URL_S3'],
      'endpoint.region': this.env['AWS_REGION'],
      'path.style.access': this.env['S3_FORCE_PATH_STYLE'],
    };
    const lines = Object.entries(s3).map(([name, value]) => `spark.hadoop.fs.s3a.${name} ${value}\n`);
    // Asked for, it is not to be missing in silence: Spark would give the same, later.
    if (this.comet) lines.push('spark.memory.offHeap.size 1g\n', 'spark.comet.nativeLoadRequired true\n');
    return [...texts, ...lines].join('');
  }

  private async script(location: string): Promise<string> {
    const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(location) ?? [];
    const s3 = localS3(this.env as Record<string, string>);
    try {
      return (await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body?.transformToString()) ?? '';
    } finally {
      s3.destroy();
    }
  }

  private end(run: JobRun, state: string, message?: string): void {
    run.JobRunState = state;
    if (message !== undefined) run.ErrorMessage = message;
    run.process?.kill('SIGKILL');
  }
}

const isActive = (state: string): boolean => ['STARTING', 'RUNNING', 'STOPPING', 'WAITING'].includes(state);

function shown({ process: _, ...run }: JobRun): object {
  return run;
}
