import { GlueClient } from '@aws-sdk/client-glue';
import type { JobRunner } from '@music/job-runners';
import { GlueRunner } from '@music/job-runners/glue-runner';
import { awsClient } from '@music/service';
import type { ObjectStore } from '@music/storage';
import type { GlueTriggerConfig } from './glue-trigger.config';

export function openGlueRunner(config: GlueTriggerConfig, store: ObjectStore): JobRunner {
  // One attempt: a StartJobRun whose reply is lost must not be sent again, but be looked for.
  return new GlueRunner(new GlueClient({ ...awsClient(config), maxAttempts: 1 }), store, {
    jobName: config.glueJobName,
    region: config.awsRegion,
    timeoutMinutes: config.jobTimeoutMinutes,
  });
}
