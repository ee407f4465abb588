import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { type KafkaClient, kafkaAccess } from '@music/events';
import type { Options } from './options';
import type { Principal } from './permissions';

const CLIENT_OF: Partial<Record<Principal, KafkaClient>> = {
  api: 'api',
  sensor: 'sensor',
  combiner: 'combiner',
  validator: 'validator',
  'glue-trigger': 'glue-trigger',
  archiver: 'archiver',
  'music-kpis': 'cli',
};

/** What MSK has to allow, where services log in to it by their roles. */
export function kafkaStatements(principal: Principal, { kafkaClusterArn }: Options): PolicyStatement[] {
  const client = CLIENT_OF[principal];
  if (kafkaClusterArn === undefined || client === undefined) return [];
  const access = kafkaAccess(client);
  const arns = (kind: 'topic' | 'group', names: readonly string[]) =>
    names.map((name) => `${kafkaClusterArn.replace(':cluster/', `:${kind}/`)}/${name}`);
  const kafka = (...actions: string[]) => actions.map((action) => `kafka-cluster:${action}`);
  const statements: [string[], string[]][] = [
    [kafka('Connect'), [kafkaClusterArn]],
    [kafka('DescribeTopic', 'ReadData'), arns('topic', access.reads)],
    [kafka('DescribeTopic', 'WriteData'), arns('topic', access.writes)],
    [kafka('CreateTopic', 'DescribeTopic'), arns('topic', access.creates)],
    [kafka('DescribeTopic'), arns('topic', access.watches.topics)],
    [kafka('DescribeGroup', 'AlterGroup'), arns('group', access.groups)],
    [kafka('DescribeGroup', 'AlterGroup', 'DeleteGroup'), arns('group', access.ownGroups)],
    [kafka('DescribeGroup'), arns('group', access.watches.groups)],
  ];
  return statements
    .filter(([, resources]) => resources.length > 0)
    .map(([actions, resources]) => new PolicyStatement({ actions, resources }));
}
