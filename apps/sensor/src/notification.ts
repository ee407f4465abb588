/** What a message of the queue says. */
export type Notification =
  /** Something was put into the bucket, below `streams/`. */
  | 'arrival'
  /** One of S3's own that says nothing of the kind: a test, a removal, another bucket or folder. */
  | 'other'
  /** Not a notification of S3. */
  | 'unknown';

interface S3Record {
  readonly eventSource?: unknown;
  readonly eventName?: unknown;
  readonly s3?: { readonly bucket?: { readonly name?: unknown }; readonly object?: { readonly key?: unknown } };
}

const MAX_ENVELOPES = 3;

/**
 * Reads a message of S3, as S3 sends it to a queue itself, through SNS, or through EventBridge. It only tells whether a
 * look at the bucket is due: what is there, the bucket says. Never throws. Pure.
 */
export function readNotification(body: string, bucket: string, prefix: string): Notification {
  let text = body;
  // SNS puts the message into a message, and a queue may be behind two of those.
  for (let depth = 0; depth < MAX_ENVELOPES; depth += 1) {
    const json = parse(text);
    if (json === undefined) return 'unknown';
    if (json['Type'] === 'Notification' && typeof json['Message'] === 'string') {
      text = json['Message'];
      continue;
    }
    if (json['Event'] === 's3:TestEvent') return 'other';
    if (Array.isArray(json['Records'])) return ofRecords(json['Records'] as unknown[], bucket, prefix);
    if (json['source'] === 'aws.s3') return ofEventBridge(json, bucket, prefix);
    return 'unknown';
  }
  return 'unknown';
}

function ofRecords(records: readonly unknown[], bucket: string, prefix: string): Notification {
  const known = records.filter(isObject).filter((record: S3Record) => record.eventSource === 'aws:s3') as S3Record[];
  if (known.length === 0) return 'unknown';
  const arrived = known.some(
    ({ eventName, s3 }) =>
      typeof eventName === 'string' &&
      /^(s3:)?ObjectCreated:/.test(eventName) &&
      s3?.bucket?.name === bucket &&
      isBelow(prefix, s3.object?.key),
  );
  return arrived ? 'arrival' : 'other';
}

function ofEventBridge(json: Record<string, unknown>, bucket: string, prefix: string): Notification {
  const detail = json['detail'] as S3Record['s3'] | undefined;
  if (typeof json['detail-type'] !== 'string' || !isObject(detail)) return 'unknown';
  if (json['detail-type'] !== 'Object Created') return 'other';
  return detail?.bucket?.name === bucket && isBelow(prefix, detail.object?.key) ? 'arrival' : 'other';
}

/** S3 encodes keys as forms do (a blank is `+`); others, and EventBridge, send them as they are. A look harms neither. */
function isBelow(prefix: string, key: unknown): boolean {
  return typeof key === 'string' && (key.startsWith(prefix) || decodeFormKey(key).startsWith(prefix));
}

/** A key as S3 writes it into notifications: `this+im+%2B+age.txt` is `this im + age.txt`. */
export function decodeFormKey(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll('+', ' '));
  } catch {
    return key; // a per cent sign of its own: it was never encoded
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return isObject(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
