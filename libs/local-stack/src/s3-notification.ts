import { randomUUID } from 'node:crypto';

/** What a notification says of an object. */
export interface NotifiedObject {
  readonly bucket: string;
  readonly key: string;
  readonly etag: string;
  readonly size: number;
}

/**
 * A message as S3 writes it into a queue: the key encoded as forms do it. The local S3 server writes none, so whoever
 * puts an object there sends it.
 */
export function s3Notification(object: NotifiedObject, eventName = 'ObjectCreated:Put'): string {
  return JSON.stringify({ Records: [record(object, eventName)] });
}

/** The same, as SNS hands it on to a queue. */
export function throughSns(message: string): string {
  return JSON.stringify({
    Type: 'Notification',
    MessageId: randomUUID(),
    TopicArn: 'arn:aws:sns:us-east-1:000000000000:music-source',
    Subject: 'Amazon S3 Notification',
    Message: message,
    Timestamp: new Date().toISOString(),
  });
}

/** A message as EventBridge sends it: the key as it is. */
export function eventBridgeNotification(
  { bucket, key, etag, size }: NotifiedObject,
  detailType = 'Object Created',
): string {
  return JSON.stringify({
    version: '0',
    id: randomUUID(),
    'detail-type': detailType,
    source: 'aws.s3',
    account: '000000000000',
    time: new Date().toISOString(),
    region: 'us-east-1',
    resources: [`arn:aws:s3:::${bucket}`],
    detail: {
      version: '0',
      bucket: { name: bucket },
      object: { key, size, etag: etag.replaceAll('"', ''), sequencer: sequencer() },
      'request-id': 'LOCAL',
      requester: '000000000000',
      reason: 'PutObject',
    },
  });
}

function record({ bucket, key, etag, size }: NotifiedObject, eventName: string): object {
  return {
    eventVersion: '2.1',
    eventSource: 'aws:s3',
    awsRegion: 'us-east-1',
    eventTime: new Date().toISOString(),
    eventName,
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: 'music-arrivals',
      bucket: { name: bucket, ownerIdentity: { principalId: 'LOCAL' }, arn: `arn:aws:s3:::${bucket}` },
      object: {
        key: encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/'),
        size,
        eTag: etag.replaceAll('"', ''),
        sequencer: sequencer(),
      },
    },
  };
}

const sequencer = (): string => Date.now().toString(16).toUpperCase().padStart(18, '0');
