import { defaultMetadataStorage } from 'class-transformer/cjs/storage';
import { targetConstructorToSchema, validationMetadatasToSchemas } from 'class-validator-jsonschema';
import { schemaId } from './envelope';
import { STAGE_EVENTS } from './topics';

/** A JSON Schema, as far as events have one. */
export interface Schema {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: readonly string[];
  readonly definitions?: Readonly<Record<string, Schema>>;
}

/** The JSON Schema of each event's data, by topic, made from the classes. Fields that it does not name are allowed. */
export function eventSchemas(): Record<string, Schema> {
  const options = { classTransformerMetadataStorage: defaultMetadataStorage };
  const all = validationMetadatasToSchemas(options);
  return Object.fromEntries(
    STAGE_EVENTS.map((event) => {
      const { name, topic } = event;
      const schema = targetConstructorToSchema(event, options) as Schema;
      const definitions = Object.fromEntries(
        [...namesIn(schema, all)].sort().map((definition) => [definition, all[definition]]),
      );
      return [
        topic,
        {
          $schema: 'http://json-schema.org/draft-07/schema#',
          $id: schemaId(topic),
          title: name,
          ...schema,
          ...(Object.keys(definitions).length === 0 ? {} : { definitions }),
        } as Schema,
      ];
    }),
  );
}

/** What a schema refers to, also by what it refers to. */
function namesIn(schema: unknown, all: Readonly<Record<string, unknown>>, found = new Set<string>()): Set<string> {
  for (const [, name = ''] of JSON.stringify(schema).matchAll(/"#\/definitions\/(\w+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    namesIn(all[name], all, found);
  }
  return found;
}

/**
 * What of a schema would break somebody during an upgrade, or who reads a topic: a field of before that is gone or other
 * than it was, one that is required and was not there before, one that no longer is.
 */
export function incompatibilities(before: Schema, now: Schema, path = ''): string[] {
  const found: string[] = [];
  for (const [name, field] of Object.entries(before.properties ?? {})) {
    const same = now.properties?.[name];
    if (same === undefined) found.push(`${path}${name} is gone`);
    else if (canonical(same) !== canonical(field)) found.push(`${path}${name} is not what it was`);
  }
  const [required, requiredBefore] = [new Set(now.required), new Set(before.required)];
  for (const name of required) if (!requiredBefore.has(name)) found.push(`${path}${name} is required now`);
  for (const name of requiredBefore) if (!required.has(name)) found.push(`${path}${name} is no longer required`);
  for (const [name, definition] of Object.entries(before.definitions ?? {})) {
    const same = now.definitions?.[name];
    if (same === undefined) found.push(`${path}${name} is gone`);
    else found.push(...incompatibilities(definition, same, `${path}${name}.`));
  }
  return found;
}

/** JSON with the fields of objects in one order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
