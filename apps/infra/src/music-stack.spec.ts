import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { kpiTable } from '@music/kpis';
import { pipelineRunsTable } from '@music/runs';
import { App, Stack, Validations } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks } from 'cdk-nag';
import { STACK_NAME, musicApp } from './music-app';

const outdir = mkdtempSync(path.join(tmpdir(), 'infra-spec-'));
afterAll(() => rmSync(outdir, { recursive: true }));

const EVERYTHING = {
  clusterName: 'apps',
  kmsKeyArn: 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555',
  kafkaClusterArn: 'arn:aws:kafka:eu-west-1:111122223333:cluster/music/aaaa-1',
  kafkaBrokers: 'b-1.example:9098,b-2.example:9098',
  alarmEmail: 'team@example.com',
};
const appOf = (context: Record<string, string> = {}) =>
  musicApp({ outdir: mkdtempSync(path.join(outdir, 'x-')), context });
function templateOf(context: Record<string, string> = {}): Template {
  return Template.fromStack(appOf(context).node.findChild(STACK_NAME) as Stack);
}
/** What cdk-nag has against an app. */
function findings(app: App): string {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  try {
    app.synth();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

describe('the stack', () => {
  const template = templateOf();

  it('is as it was when somebody looked at it last', () => {
    // But for the hash of script and models, which change oftener than the stack.
    const text = JSON.stringify(template.toJSON());
    const [, hash = ''] = /Music KPIs, models ([0-9a-f]{16})"/.exec(text) ?? [];
    expect(text).toContain(`/glue/${hash}/music_kpis.py`);
    expect(JSON.parse(text.replaceAll(hash, 'HASH'))).toMatchSnapshot();
  });

  it('has the lake as tables, of which Athena works out the days by itself', () => {
    const lake = Object.keys(template.findResources('AWS::S3::Bucket')).find((name) => name.startsWith('Lake'));
    const at = (below: string) => ({ 'Fn::Join': ['', ['s3://', { Ref: lake }, below]] });
    const tables = Object.values(template.findResources('AWS::Glue::Table')).map(
      ({ Properties }) => Properties.TableInput,
    );
    expect(tables.map(({ Name, StorageDescriptor: { Location } }) => [Name, Location]).sort()).toEqual([
      ['left_out', at('/left_out/')],
      ['listens', at('/listens/')],
      ['songs', at('/songs/current/')],
      ['users', at('/users/current/')],
    ]);
    const listens = tables.find(({ Name }) => Name === 'listens');
    expect(listens.PartitionKeys).toMatchObject([{ Name: 'day', Type: 'string' }]);
    expect(listens.Parameters).toEqual({
      EXTERNAL: 'TRUE',
      classification: 'parquet',
      'projection.enabled': 'true',
      'projection.day.type': 'date',
      'projection.day.format': 'yyyy-MM-dd',
      'projection.day.range': '2015-01-01,NOW+1DAYS',
      'projection.day.interval': '1',
      'projection.day.interval.unit': 'DAYS',
      'storage.location.template': at('/listens/date=${day}/'),
    });
  });

  it('has buckets that are encrypted, private, spoken to over TLS, and kept', () => {
    const buckets = Object.values(template.findResources('AWS::S3::Bucket'));
    expect(buckets).toHaveLength(4);
    for (const { Properties, DeletionPolicy, UpdateReplacePolicy } of buckets) {
      expect(Properties.BucketEncryption.ServerSideEncryptionConfiguration).toEqual([
        { ServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } },
      ]);
      expect(Object.values(Properties.PublicAccessBlockConfiguration)).toEqual([true, true, true, true]);
      expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(['Retain', 'Retain']);
    }
    template.resourcePropertiesCountIs(
      'AWS::S3::BucketPolicy',
      {
        PolicyDocument: Match.objectLike({
          Statement: Match.arrayWith([
            Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } }),
          ]),
        }),
      },
      4,
    );
  });

  it('has the tables that set-up makes, with backups, not to be deleted by mistake', () => {
    for (const table of [pipelineRunsTable('pipeline_runs'), kpiTable('music_kpis_table')])
      template.hasResource('AWS::DynamoDB::Table', {
        DeletionPolicy: 'Retain',
        Properties: {
          ...table,
          PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
          DeletionProtectionEnabled: true,
        },
      });
  });

  it('rings the queue for new files of three folders, which may be sent to by that bucket alone', () => {
    const [source] = Object.entries(
      template.findResources('AWS::S3::Bucket', { Properties: { NotificationConfiguration: Match.anyValue() } }),
    );
    if (source === undefined) throw new Error('no bucket has notifications');
    const [id, bucket] = source;
    expect(id).toMatch(/^SourceBucket/);
    expect(
      bucket['Properties'].NotificationConfiguration.QueueConfigurations.map((each: Record<string, never>) => [
        each['Event'],
        each['Filter']['S3Key']['Rules'][0],
      ]),
    ).toEqual(['streams/', 'songs/', 'users/'].map((Value) => ['s3:ObjectCreated:*', { Name: 'prefix', Value }]));
    const fromS3 = Object.entries(template.findResources('AWS::SQS::QueuePolicy')).filter(([, policy]) =>
      JSON.stringify(policy).includes('"Service":"s3.amazonaws.com"'),
    );
    expect(fromS3.map(([policy]) => policy)).toEqual(bucket['DependsOn']);
    expect(JSON.stringify(fromS3)).toContain('aws:SourceArn');
  });

  it('makes nothing behind our back: no function, no resource of its own kind', () => {
    const types = Object.values(template.toJSON()['Resources'] as Record<string, { Type: string }>).map(
      ({ Type }) => Type,
    );
    expect(types.filter((type) => /Lambda|Custom/.test(type))).toEqual([]);
  });

  it('has no wildcard among actions, and among resources only below a prefix', () => {
    for (const [id, { Properties }] of Object.entries(templateOf(EVERYTHING).findResources('AWS::IAM::Role')))
      for (const { PolicyDocument } of Properties.Policies)
        for (const { Action, Resource, Effect } of PolicyDocument.Statement) {
          expect(Effect).toBe('Allow');
          for (const action of [Action].flat()) expect(action).not.toContain('*');
          for (const resource of [Resource].flat()) {
            const arn = JSON.stringify(resource?.['Fn::Join']?.[1] ?? [resource]);
            if (arn.includes('*')) expect([id, arn]).toEqual([id, expect.stringMatching(/^[^*]+[/:.-]\*"\]$/)]);
          }
        }
  });

  it('lets pods of one service account be one role: by Pod Identity, or by IRSA', () => {
    template.hasResourceProperties('AWS::IAM::Role', {
      RoleName: 'music-combiner',
      AssumeRolePolicyDocument: Match.objectLike({
        Statement: Match.arrayWith([
          Match.objectLike({
            Principal: { Service: 'pods.eks.amazonaws.com' },
            Condition: {
              StringEquals: {
                'aws:RequestTag/kubernetes-namespace': 'music',
                'aws:RequestTag/kubernetes-service-account': 'combiner',
              },
            },
          }),
        ]),
      }),
    });
    templateOf(EVERYTHING).resourceCountIs('AWS::EKS::PodIdentityAssociation', 7);
    templateOf({ oidcIssuer: 'oidc.eks.eu-west-1.amazonaws.com/id/ABC' }).hasResourceProperties('AWS::IAM::Role', {
      RoleName: 'music-combiner',
      AssumeRolePolicyDocument: Match.objectLike({
        Statement: [
          Match.objectLike({
            Action: 'sts:AssumeRoleWithWebIdentity',
            Condition: {
              StringEquals: {
                'oidc.eks.eu-west-1.amazonaws.com/id/ABC:aud': 'sts.amazonaws.com',
                'oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub': 'system:serviceaccount:music:combiner',
              },
            },
          }),
        ],
      }),
    });
  });

  it('tells of what is wrong with its options, all at once', () => {
    expect(() => templateOf({ prefix: 'Music', clusterName: 'a b' })).toThrow(
      /-c prefix=Music: must match .*\n-c clusterName=a b: must match/,
    );
  });
});

describe('cdk-nag', () => {
  it.each([
    ['as it is', {}],
    ['with everything', EVERYTHING],
    ['with IRSA', { oidcIssuer: 'oidc.eks.eu-west-1.amazonaws.com/id/ABC' }],
  ])('finds nothing without a reason: %s', (_, context) => {
    expect(findings(appOf(context))).toBe('');
  });

  it('is asked: it finds a bucket that is as CDK makes it', () => {
    const app = appOf();
    new Bucket(app.node.findChild(STACK_NAME), 'Careless');
    expect(findings(app)).toMatch(/S10/);
  });
});
