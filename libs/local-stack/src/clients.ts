import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';

const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
const region = 'us-east-1';

/** A client of a local S3, found by the variables that LocalStack and FaultProxies give. */
export function localS3(env: Readonly<Record<string, string>>): S3Client {
  return new S3Client({ endpoint: env['AWS_ENDPOINT_URL_S3'], forcePathStyle: true, region, credentials });
}

/** A client of a local DynamoDB, found by the same. */
export function localDynamoDB(env: Readonly<Record<string, string>>): DynamoDBClient {
  return new DynamoDBClient({ endpoint: env['AWS_ENDPOINT_URL_DYNAMODB'], region, credentials });
}
