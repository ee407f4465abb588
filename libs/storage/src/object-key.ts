import { createHash } from 'node:crypto';

const MAX_KEY_BYTES = 1_024; // of S3

/**
 * `prefix` + `name`, with the end of the name kept as it is. Where that is longer than S3 takes, the name gives way to
 * its hash, so that two long names stay two objects.
 */
export function keyBelow(prefix: string, name: string, suffix = ''): string {
  const key = `${prefix}${name}${suffix}`;
  if (Buffer.byteLength(key) <= MAX_KEY_BYTES) return key;
  return `${prefix}sha256-${createHash('sha256').update(name).digest('hex')}${suffix}`;
}
