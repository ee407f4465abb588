import { createHash } from 'node:crypto';
import {
  CreateJobCommand,
  type CreateJobCommandInput,
  GetJobCommand,
  type GlueClient,
  UpdateJobCommand,
  WorkerType,
} from '@aws-sdk/client-glue';
import { LastingError } from '@music/errors';
import { contains, unlessMissing } from '@music/lake';
import type { ObjectStore } from '@music/storage';
import script from '@music/glue/music_kpis.py';
import { MODELS } from './kpi-models';

export interface GlueJobSettings {
  readonly jobName: string;
  readonly roleArn: string;
  readonly workerType: string;
  readonly workers: number;
  readonly timeoutMinutes: number;
  /** CloudWatch's group for the job's log; without it, Glue's own for all jobs. */
  readonly logGroup?: string;
}

const LOG_GROUP = '--continuous-log-logGroup';

/** Thrown where a job is to be made and nobody said as which role it runs. */
export class NoGlueRole extends LastingError {}

/** How the job is made: its script and its models stand in the lake bucket, below a folder named by their content. */
export function glueJob(
  bucket: string,
  { roleArn, workerType, workers, timeoutMinutes, logGroup }: Omit<GlueJobSettings, 'jobName'>,
): { readonly prefix: string; readonly definition: Omit<CreateJobCommandInput, 'Name'> } {
  const hash = createHash('sha256')
    .update(JSON.stringify([script, MODELS]))
    .digest('hex')
    .slice(0, 16);
  const prefix = `glue/${hash}/`;
  return {
    prefix,
    definition: {
      Description: `Music KPIs, models ${hash}`,
      Role: roleArn,
      GlueVersion: '5.0',
      Command: { Name: 'glueetl', PythonVersion: '3', ScriptLocation: `s3://${bucket}/${prefix}music_kpis.py` },
      DefaultArguments: {
        '--SQL_PATH': `s3://${bucket}/${prefix}sql`,
        '--enable-continuous-cloudwatch-log': 'true',
        ...(logGroup === undefined ? {} : { [LOG_GROUP]: logGroup }),
        '--enable-metrics': 'true',
        '--job-bookmark-option': 'job-bookmark-disable', // what was read before is the pipeline's to know
      },
      WorkerType: workerType as WorkerType,
      NumberOfWorkers: workers,
      Timeout: timeoutMinutes,
      MaxRetries: 0, // the pipeline starts it again, so that it knows which run is which
      ExecutionProperty: { MaxConcurrentRuns: 1 },
    },
  };
}

/**
 * Puts script and models into the lake bucket and makes the Glue job that runs them, or brings the one that is there up
 * to date; without a role, or a group of logs, it keeps those that the job has. Safe to repeat. Gives what it did. Throws NoGlueRole
 * where there is neither.
 */
export async function setUpGlueJob(
  glue: GlueClient,
  store: ObjectStore,
  bucket: string,
  { jobName: Name, ...settings }: Omit<GlueJobSettings, 'roleArn'> & { readonly roleArn?: string },
): Promise<'created' | 'updated' | 'unchanged'> {
  const there = (await unlessMissing(glue.send(new GetJobCommand({ JobName: Name }))))?.Job;
  const roleArn = settings.roleArn ?? there?.Role;
  if (roleArn === undefined)
    throw new NoGlueRole(`there is no Glue job ${Name} yet: making it needs the role that it runs as`);
  const logGroup = settings.logGroup ?? there?.DefaultArguments?.[LOG_GROUP];
  const { prefix, definition } = glueJob(bucket, { ...settings, roleArn, logGroup });
  await store.putText(bucket, `${prefix}music_kpis.py`, script);
  for (const [name, sql] of Object.entries(MODELS)) await store.putText(bucket, `${prefix}sql/${name}.sql`, sql);
  if (there === undefined) {
    await glue.send(new CreateJobCommand({ Name, ...definition }));
    return 'created';
  }
  if (contains(there, definition)) return 'unchanged';
  await glue.send(new UpdateJobCommand({ JobName: Name, JobUpdate: definition }));
  return 'updated';
}
