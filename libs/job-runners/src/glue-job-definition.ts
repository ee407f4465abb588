import { createHash } from 'node:crypto';
import {
  CreateJobCommand,
  type CreateJobCommandInput,
  EntityNotFoundException,
  GetJobCommand,
  type GlueClient,
  UpdateJobCommand,
  WorkerType,
} from '@aws-sdk/client-glue';
import type { ObjectStore } from '@music/storage';
import script from '@music/glue/music_kpis.py';
import { MODELS } from './kpi-models';

export interface GlueJobSettings {
  readonly jobName: string;
  readonly roleArn: string;
  readonly workerType: string;
  readonly workers: number;
  readonly timeoutMinutes: number;
}

/**
 * Puts script and models into the lake bucket, named by their content, and makes the Glue job that runs them, or brings
 * the one that is there up to date. Safe to repeat. Gives what it did.
 */
export async function setUpGlueJob(
  glue: GlueClient,
  store: ObjectStore,
  bucket: string,
  settings: GlueJobSettings,
): Promise<'created' | 'updated' | 'unchanged'> {
  const hash = createHash('sha256')
    .update(JSON.stringify([script, MODELS]))
    .digest('hex')
    .slice(0, 16);
  const prefix = `glue/${hash}/`;
  await store.putText(bucket, `${prefix}music_kpis.py`, script);
  for (const [name, sql] of Object.entries(MODELS)) await store.putText(bucket, `${prefix}sql/${name}.sql`, sql);
  const wanted: Omit<CreateJobCommandInput, 'Name'> = {
    Description: `Music KPIs, models ${hash}`,
    Role: settings.roleArn,
    GlueVersion: '5.0',
    Command: { Name: 'glueetl', PythonVersion: '3', ScriptLocation: `s3://${bucket}/${prefix}music_kpis.py` },
    DefaultArguments: {
      '--SQL_PATH': `s3://${bucket}/${prefix}sql`,
      '--enable-continuous-cloudwatch-log': 'true',
      '--enable-metrics': 'true',
      '--job-bookmark-option': 'job-bookmark-disable', // what was read before is the pipeline's to know
    },
    WorkerType: settings.workerType as WorkerType,
    NumberOfWorkers: settings.workers,
    Timeout: settings.timeoutMinutes,
    MaxRetries: 0, // the pipeline starts it again, so that it knows which run is which
    ExecutionProperty: { MaxConcurrentRuns: 1 },
  };
  const { jobName: Name } = settings;
  try {
    const { Job } = await glue.send(new GetJobCommand({ JobName: Name }));
    if (contains(Job, wanted)) return 'unchanged';
    await glue.send(new UpdateJobCommand({ JobName: Name, JobUpdate: wanted }));
    return 'updated';
  } catch (error) {
    if (!(error instanceof EntityNotFoundException)) throw error;
    await glue.send(new CreateJobCommand({ Name, ...wanted }));
    return 'created';
  }
}

/** Whether all that is wanted is there; what Glue adds of its own does not matter. */
function contains(there: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return there === wanted;
  return (
    typeof there === 'object' &&
    there !== null &&
    Object.entries(wanted).every(([key, value]) => contains((there as Record<string, unknown>)[key], value))
  );
}
