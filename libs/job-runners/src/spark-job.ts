import { createHash } from 'node:crypto';
import { LastingError } from '@music/errors';
import type { ObjectRef } from '@music/events';
import type { ObjectStore } from '@music/storage';
import { type KpiJob, type KpiJobSummary, newSummaryKey } from './job-runner';

/** What `glue/music_kpis.py` leaves as summary.json. */
interface SparkSummary {
  readonly dates: readonly string[];
  readonly run_rows: number;
  readonly new_listens: number;
  readonly unknown_track_listens: number;
  readonly unknown_user_listens: number;
  readonly unreadable_durations: number;
  readonly song_rows?: number;
  /** Of how many runs it left deliveries out; a script of an earlier release does not tell, and leaves none out. */
  readonly left_out_runs?: number;
  readonly sql_version: string;
  readonly seconds: number;
  readonly spark: string;
}

/** Thrown where a job was done by a script that does not know what this service asks for. */
export class ScriptIsOld extends LastingError {}

const uri = ({ bucket, key }: Pick<ObjectRef, 'bucket' | 'key'>): string => `s3://${bucket}/${key}`;

/**
 * Writes down what a Spark job reads, named by content. Gives the job's arguments without `--`; same job, same
 * arguments.
 */
export async function prepareSparkJob(store: ObjectStore, job: KpiJob): Promise<Record<string, string>> {
  const { leftOut = {} } = job;
  const input = {
    dates: job.dates,
    songs: job.songs.map(uri),
    users: job.users.map(uri),
    ...(Object.keys(leftOut).length === 0 ? {} : { left_out: leftOut }),
  };
  const hash = createHash('sha256').update(JSON.stringify(input)).digest('hex').slice(0, 16);
  const stored = await store.putJson(job.resultBucket, `${job.resultPrefix}input-${hash}.json`, input);
  return {
    RUN_ID: job.runId,
    KPI_VERSION: String(job.version),
    S3_SOURCE_PATH: uri(stored),
    S3_LAKE_PATH: `s3://${job.lakeBucket}/`,
    S3_RESULT_PATH: `s3://${job.resultBucket}/${job.resultPrefix}`,
    KEEP_UNKNOWN_TRACKS: String(job.keepUnknownTracks),
  };
}

/** Makes the summary of a Spark job that succeeded. Throws where the job left not all that it says. */
export async function finishSparkJob(store: ObjectStore, job: KpiJob, engine: string): Promise<ObjectRef> {
  const object = async (name: string) => {
    const key = `${job.resultPrefix}${name}`;
    const head = await store.head(job.resultBucket, key);
    if (head === undefined) throw new Error(`the job succeeded, but s3://${job.resultBucket}/${key} is not there`);
    const { bucket, etag, size } = head;
    return { bucket, key, etag, size };
  };
  const result = await store.readJson<SparkSummary>(await object('summary.json'));
  if ((result.left_out_runs ?? 0) !== Object.keys(job.leftOut ?? {}).length)
    throw new ScriptIsOld(
      "the job's script is of an earlier release and counts deliveries that were taken back: `music-kpis setup --glue` brings this one's",
    );
  const days = [];
  for (const date of result.dates) days.push({ date, kpis: await object(`date=${date}.json`) });
  const summary: KpiJobSummary = {
    runId: job.runId,
    engine: `${engine} (Spark ${result.spark})`,
    sqlVersion: result.sql_version, // of the models that ran, which may be older than this service's
    days,
    runRows: result.run_rows,
    newListens: result.new_listens,
    unknownTrackListens: result.unknown_track_listens,
    unknownUserListens: result.unknown_user_listens,
    unreadableDurations: result.unreadable_durations,
    songRows: result.song_rows,
    seconds: result.seconds,
  };
  return store.putJson(job.lakeBucket, newSummaryKey(job.runId), summary);
}
