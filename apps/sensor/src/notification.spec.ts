import { eventBridgeNotification, s3Notification, throughSns } from '@music/local-stack';
import { decodeFormKey, readNotification } from './notification';

const object = (key: string, bucket = 'source') => ({ bucket, key, etag: '"e"', size: 1 });
const read = (body: string) => readNotification(body, 'source', 'streams/');
const direct = s3Notification(object('streams/this im + age.txt'));

describe('a message of the queue', () => {
  it.each([
    ['from S3', direct],
    ['through SNS', throughSns(direct)],
    ['through two of them', throughSns(throughSns(direct))],
    ['through EventBridge', eventBridgeNotification(object('streams/this im + age.txt'))],
    ['of a multipart upload', s3Notification(object('streams/a'), 'ObjectCreated:CompleteMultipartUpload')],
    ['of a copy, as older ones are called', s3Notification(object('streams/a'), 's3:ObjectCreated:Copy')],
    ['with a key as it is', direct.replace('this+im+%2B+age.txt', '100% of it')],
    ['with an encoded folder', direct.replace('streams/', 'streams%2F')],
    [
      'of which one record is of ours',
      JSON.stringify({ Records: [...records(s3Notification(object('songs/a'))), ...records(direct)] }),
    ],
  ])('rings %s', (_, body) => expect(read(body)).toBe('arrival'));

  it.each([
    ['a test', JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'source' })],
    ['a test through SNS', throughSns(JSON.stringify({ Service: 'Amazon S3', Event: 's3:TestEvent' }))],
    ['a removal', s3Notification(object('streams/a'), 'ObjectRemoved:Delete')],
    ['a removal through EventBridge', eventBridgeNotification(object('streams/a'), 'Object Deleted')],
    ['another bucket', s3Notification(object('streams/a', 'other'))],
    ['another folder', s3Notification(object('songs/a'))],
    [
      'a record without a key',
      JSON.stringify({ Records: [{ eventSource: 'aws:s3', eventName: 'ObjectCreated:Put', s3: {} }] }),
    ],
  ])('does not ring for %s', (_, body) => expect(read(body)).toBe('other'));

  it.each([
    ['', 'hello', '{', 'null', '[]', '7', '"x"', '{}', '{"Records":[]}', '{"Records":[null,1,"x"]}', '{"Records":{}}'],
    ['{"source":"aws.s3"}', '{"source":"aws.ec2","detail-type":"x","detail":{}}', '{"Type":"Notification"}'],
    [JSON.stringify({ Records: [{ eventSource: 'aws:ses' }] }), throughSns('hello'), nested(9), '{"a":'.repeat(5_000)],
  ])('is no notification: %s', (...bodies) => {
    for (const body of bodies) expect(read(body)).toBe('unknown');
  });
});

it('reads keys as S3 encodes them', () => {
  expect(decodeFormKey('this+im+%2B+age.txt')).toBe('this im + age.txt');
  expect(decodeFormKey('a%C3%A9%F0%9F%8E%B5')).toBe('aé🎵');
  expect(decodeFormKey('100% of it')).toBe('100% of it');
});

function records(body: string): unknown[] {
  return (JSON.parse(body) as { Records: unknown[] }).Records;
}

function nested(depth: number): string {
  return depth === 0 ? direct : throughSns(nested(depth - 1));
}
