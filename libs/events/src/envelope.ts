import { plainToInstance, type ClassConstructor } from 'class-transformer';
import { validateSync, type ValidationError } from 'class-validator';
import { CloudEvent } from 'cloudevents';
import type { StageEvent, StageEventClass } from './stage-event';
import { eventClassOf } from './topics';

/** Thrown when something does not fit its schema. Trying again cannot help. */
export class SchemaViolation extends Error {
  override readonly name = 'SchemaViolation';
  readonly lasting = true;
}

/** What goes over Kafka: one stage event with its CloudEvents attributes. */
export interface Envelope<T extends StageEvent = StageEvent> {
  /** The same event sent twice has the same id. */
  readonly id: string;
  readonly source: string;
  readonly time: string;
  readonly topic: string;
  readonly key: string;
  readonly data: T;
}

/**
 * `Type`'s fields from plain JSON, or SchemaViolation that lists every field that is wrong. Unknown fields are wrong;
 * where they may come from a newer release, they are left as they are: whoever knows them may get them from here.
 */
export function fromPlain<T extends object>(
  type: ClassConstructor<T>,
  plain: unknown,
  { leaveUnknown = false } = {},
): T {
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain)) {
    throw new SchemaViolation(`${type.name}: expected an object, found ${plain === null ? 'null' : typeof plain}`);
  }
  const value = plainToInstance(type, plain);
  const errors = validateSync(value, {
    whitelist: !leaveUnknown,
    forbidNonWhitelisted: !leaveUnknown,
    stopAtFirstError: true,
  });
  if (errors.length > 0) throw new SchemaViolation(`${type.name}: ${describeViolations(errors).join('; ')}`);
  return value;
}

/** One line a wrong field, with its path. */
export function describeViolations(errors: readonly ValidationError[], path = ''): string[] {
  return errors.flatMap((error) => [
    ...Object.values(error.constraints ?? {}).map((text) => `${path}${text}`),
    ...describeViolations(error.children ?? [], `${path}${error.property}.`),
  ]);
}

/** An envelope around an event; `id` follows from what the event says, so that sending it again is recognisable. */
export function envelope<T extends StageEvent>(
  type: StageEventClass<T>,
  source: string,
  fields: Omit<T, never>,
  time = new Date(),
): Envelope<T> {
  const data = fromPlain(type, { ...fields });
  const key = type.keyOf(data);
  return {
    id: `${type.topic}/${key}`,
    source: `/music/${source}`,
    time: time.toISOString(),
    topic: type.topic,
    key,
    data,
  };
}

/** Within a major version of a schema, fields are added, never taken away or changed. */
const SCHEMA_VERSION = 1;

/** The name of an event's JSON Schema, see `schemas/`; its `$id`, and the event's `dataschema`. */
export const schemaId = (topic: string): string => `urn:music:event:${topic}:${SCHEMA_VERSION}`;

/** The structured-mode JSON text of an envelope. */
export function toJson(event: Envelope): string {
  return JSON.stringify(
    new CloudEvent({
      id: event.id,
      source: event.source,
      time: event.time,
      type: event.topic,
      subject: event.key,
      datacontenttype: 'application/json',
      dataschema: schemaId(event.topic),
      data: { ...event.data },
    }).toJSON(),
  );
}

/**
 * Writes and reads an event of a topic that says nothing, so that what does so is compiled before the first event
 * comes, which would take some 20 ms longer.
 */
export function rehearse(topic: string): void {
  const event = { id: topic, source: '/music', time: new Date().toISOString(), topic, key: topic, data: {} };
  try {
    fromJson(toJson(event as Envelope));
  } catch (error) {
    if (!(error instanceof SchemaViolation)) throw error;
  }
}

/** Reads a message's text. Throws SchemaViolation that says what is wrong with it. */
export function fromJson(text: string): Envelope {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new SchemaViolation(`not JSON: ${(error as Error).message}`);
  }
  let cloudEvent: CloudEvent<unknown>;
  try {
    cloudEvent = new CloudEvent<unknown>(json as Partial<CloudEvent<unknown>>);
  } catch (error) {
    throw new SchemaViolation(`not a CloudEvent: ${(error as Error).message}`);
  }
  if (cloudEvent.specversion !== '1.0')
    throw new SchemaViolation(`CloudEvents ${cloudEvent.specversion} is not known here; this service reads 1.0`);
  const type = eventClassOf(cloudEvent.type);
  if (type === undefined) throw new SchemaViolation(`no event of type ${JSON.stringify(cloudEvent.type)} is known`);
  const data = fromPlain(type, cloudEvent.data, { leaveUnknown: true });
  return {
    id: cloudEvent.id,
    source: cloudEvent.source,
    time: cloudEvent.time ?? new Date(0).toISOString(),
    topic: cloudEvent.type,
    key: type.keyOf(data),
    data,
  };
}
