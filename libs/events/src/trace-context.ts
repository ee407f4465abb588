import { randomBytes } from 'node:crypto';

const TRACEPARENT = /^00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/;

/** A W3C `traceparent` for the next message: of the same trace as `parent`, or of a new one. */
export function nextTraceparent(parent?: string): string {
  const [, trace, flags] = TRACEPARENT.exec(parent ?? '') ?? [];
  return `00-${trace ?? randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-${flags ?? '01'}`;
}

/** The trace a `traceparent` belongs to, where it is one. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return TRACEPARENT.exec(traceparent ?? '')?.[1];
}
