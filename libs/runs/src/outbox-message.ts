import { type Envelope, nextTraceparent, toJson } from '@music/events';

/** A message for a topic that was recorded together with the change it tells of. */
export interface OutboxMessage {
  /** Unique among what a stage owes. */
  readonly id: string;
  readonly topic: string;
  readonly key: string;
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** As it stands in the outbox. */
export interface OwedMessage extends OutboxMessage {
  readonly sk: string;
}

/** The message that carries an event, in the trace of the message that led to it. */
export function messageOf(
  event: Envelope,
  cause?: { readonly headers: Readonly<Record<string, string>> },
): OutboxMessage {
  return {
    id: event.id,
    topic: event.topic,
    key: event.key,
    value: toJson(event),
    headers: {
      'content-type': 'application/cloudevents+json',
      traceparent: nextTraceparent(cause?.headers['traceparent']),
    },
  };
}
