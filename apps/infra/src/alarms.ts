import { Duration, Validations } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Rule } from 'aws-cdk-lib/aws-events';
import { SnsTopic } from 'aws-cdk-lib/aws-events-targets';
import type { CfnJob } from 'aws-cdk-lib/aws-glue';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions';
import type { Construct } from 'constructs';
import type { Arrivals } from './arrivals';
import type { Options } from './options';

/** What AWS alone can tell; what the services tell is alarmed on by k8s/components/monitoring. */
export function makeAlarms(scope: Construct, options: Options, { queue, deadLetters }: Arrivals, job: CfnJob): Topic {
  const topic = new Topic(scope, 'Alarms', { topicName: `${options.prefix}-alarms`, enforceSSL: true });
  Validations.of(topic).acknowledge({
    id: 'AwsSolutions-SNS2',
    reason: 'Alarms have no data in them, and CloudWatch cannot publish to a topic with the key that AWS manages',
  });
  if (options.alarmEmail !== undefined) topic.addSubscription(new EmailSubscription(options.alarmEmail));
  const alarm = (id: string, props: Omit<ConstructorParameters<typeof Alarm>[2], 'evaluationPeriods'>) =>
    new Alarm(scope, id, {
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
      ...props,
    }).addAlarmAction(new SnsAction(topic));
  alarm('ArrivalsDeadLetter', {
    metric: deadLetters.metricApproximateNumberOfMessagesVisible({ period: Duration.minutes(5), statistic: 'max' }),
    threshold: 1,
    alarmDescription: 'A notification was taken five times and never deleted: see the log of the sensor',
  });
  alarm('ArrivalsWait', {
    metric: queue.metricApproximateAgeOfOldestMessage({ period: Duration.minutes(5), statistic: 'max' }),
    threshold: Duration.minutes(15).toSeconds(),
    alarmDescription: 'Nobody takes notifications: is the sensor running, with ARRIVALS=sqs and this queue?',
  });
  new Rule(scope, 'KpiJobEndedBadly', {
    description: 'A run of the KPI job failed, timed out or was stopped',
    eventPattern: {
      source: ['aws.glue'],
      detailType: ['Glue Job State Change'],
      detail: { jobName: [job.ref], state: ['FAILED', 'TIMEOUT', 'STOPPED'] },
    },
    targets: [new SnsTopic(topic)],
  });
  return topic;
}
