import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { CloudFormationClient, CreateStackCommand, waitUntilStackCreateComplete } from '@aws-sdk/client-cloudformation';
import { PutBucketNotificationConfigurationCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3';
import { type Moto, workspaceRoot } from '@music/local-stack';

const STACK = 'music-streaming-pipeline';
const MAX_WAIT_SECONDS = 300;

interface Template {
  readonly Resources: Readonly<Record<string, { readonly Type: string; readonly Properties: Properties }>>;
}
interface Properties {
  readonly VersioningConfiguration?: { readonly Status: 'Enabled' };
  readonly NotificationConfiguration?: {
    readonly QueueConfigurations: readonly {
      readonly Event: string;
      readonly Filter: { readonly S3Key: { readonly Rules: { Name: string; Value: string }[] } };
    }[];
  };
}

/** Makes the stack of apps/infra from its template, and gives the settings that it tells. `dir`: for the template. */
export async function makeStack(moto: Moto, dir: string): Promise<Record<string, string>> {
  await infra(moto, 'synth', '--out', dir);
  const text = await readFile(path.join(dir, `${STACK}.template.json`), 'utf8');
  const client = new CloudFormationClient({ endpoint: moto.url });
  try {
    await client.send(
      new CreateStackCommand({ StackName: STACK, TemplateBody: text, Capabilities: ['CAPABILITY_NAMED_IAM'] }),
    );
    await waitUntilStackCreateComplete({ client, maxWaitTime: MAX_WAIT_SECONDS, minDelay: 0.2 }, { StackName: STACK });
  } finally {
    client.destroy();
  }
  const settings = Object.fromEntries(
    (await infra(moto, 'settings'))
      .trim()
      .split('\n')
      .map((line) => line.split(/=(.*)/s, 2)),
  ) as Record<string, string>;
  // moto tells of its queues where AWS would have them, and makes buckets without their versions and notifications.
  const queueUrl = (settings['ARRIVAL_QUEUE_URL'] ?? '').replace(/^https:\/\/[^/]+/, moto.url);
  await completeSource(moto, settings['SOURCE_BUCKET'] ?? '', queueUrl, JSON.parse(text) as Template);
  return { ...settings, ARRIVAL_QUEUE_URL: queueUrl };
}

async function infra({ env }: Moto, ...args: string[]): Promise<string> {
  const bundle = path.join(workspaceRoot(), 'apps', 'infra', 'dist', 'main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [bundle, ...args], {
    env: { ...process.env, ...env },
  });
  return stdout;
}

async function completeSource({ url }: Moto, Bucket: string, queueUrl: string, template: Template): Promise<void> {
  const [source] = Object.values(template.Resources).flatMap(({ Properties }) =>
    Properties?.NotificationConfiguration === undefined ? [] : [Properties],
  );
  const [account, name] = queueUrl.split('/').slice(-2);
  const s3 = new S3Client({ endpoint: url, forcePathStyle: true });
  await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: source?.VersioningConfiguration }));
  await s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket,
      NotificationConfiguration: {
        QueueConfigurations: source?.NotificationConfiguration?.QueueConfigurations.map(({ Event, Filter }) => ({
          QueueArn: `arn:aws:sqs:us-east-1:${account}:${name}`,
          Events: [Event as 's3:ObjectCreated:*'],
          Filter: {
            Key: {
              FilterRules: Filter.S3Key.Rules.map((rule) => ({ Name: rule.Name as 'prefix', Value: rule.Value })),
            },
          },
        })),
      },
    }),
  );
  s3.destroy();
}
