import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Ajv from 'ajv';
import { type Schema, eventSchemas, incompatibilities } from './event-schemas.fixture';
import { BatchCombined, RunRequested, STAGE_EVENTS, envelope, fromJson, toJson } from './index';

const FOLDER = path.join(__dirname, '../schemas');
const RELEASES = path.join(FOLDER, 'releases');
const text = (schema: unknown) => `${JSON.stringify(schema, undefined, 2)}\n`;
const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as unknown;

const ref = { bucket: 'b', key: 'k', etag: 'e', size: 1 };
const runId = 'scheduled__2024-06-25';
const combined = envelope(BatchCombined, 'combiner', { runId, batch: 1, manifest: ref, evidence: ref });

describe('the schemas of events', () => {
  const schemas = eventSchemas();

  it('are those of schemas/ (npm run schemas writes them)', () => {
    if (process.env['UPDATE_SCHEMAS'] === 'true') {
      mkdirSync(FOLDER, { recursive: true });
      for (const [topic, schema] of Object.entries(schemas))
        writeFileSync(path.join(FOLDER, `${topic}.json`), text(schema));
    }
    const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));
    expect(files.sort()).toEqual(STAGE_EVENTS.map(({ topic }) => `${topic}.json`).sort());
    for (const [topic, schema] of Object.entries(schemas))
      expect(readFileSync(path.join(FOLDER, `${topic}.json`), 'utf8')).toBe(text(schema));
  });

  it('are named by events, fit what is sent, and refuse what is refused here', () => {
    const ajv = new Ajv();
    const json = JSON.parse(toJson(combined)) as { dataschema: string; data: Record<string, unknown> };
    const fits = ajv.compile(schemas['music.batch.combined'] as object);
    expect(json.dataschema).toBe('urn:music:event:music.batch.combined:1');
    expect(ajv.getSchema(json.dataschema)).toBe(fits);
    expect(fits(json.data)).toBe(true);
    for (const wrong of [
      { batch: -1 },
      { manifest: { ...ref, size: 'x' } },
      { runId: '../x' },
      { evidence: undefined },
    ]) {
      const data = JSON.parse(JSON.stringify({ ...json.data, ...wrong })) as unknown;
      expect(fits(data)).toBe(false);
      expect(() => fromJson(JSON.stringify({ ...json, data }))).toThrow();
    }
  });

  it.each(readdirSync(RELEASES).filter((file) => file.endsWith('.json')))('go on with those of release %s', (file) => {
    const released = read(path.join(RELEASES, file)) as Record<string, Schema>;
    const found = Object.entries(released).flatMap(([topic, before]) => {
      const now = schemas[topic];
      return now === undefined
        ? [`${topic} is gone`]
        : incompatibilities(before, now).map((each) => `${topic}: ${each}`);
    });
    expect(found).toEqual([]);
  });

  it('do not go on where a field is taken away, changed, or needed', () => {
    const before: Schema = {
      properties: { a: { type: 'string' }, b: { type: 'integer' }, c: {} },
      required: ['a', 'c'],
      definitions: { D: { properties: { d: {} } } },
    };
    const now: Schema = {
      properties: { b: { type: 'string' }, c: {}, e: {} },
      required: ['e', 'a'],
      definitions: { D: { properties: {} } },
    };
    expect(incompatibilities(before, before)).toEqual([]);
    expect(incompatibilities(before, { ...before, properties: { ...before.properties, more: {} } })).toEqual([]);
    expect(incompatibilities(before, now)).toEqual([
      'a is gone',
      'b is not what it was',
      'e is required now',
      'c is no longer required',
      'D.d is gone',
    ]);
  });
});

describe('an event of a newer release', () => {
  const newer = toJson(combined)
    .replace('"batch":1', '"batch":1,"added":{"deep":[1]},"__proto__":{"polluted":true}')
    .replace('"size":1', '"size":1,"sha256":"x"');

  it('is read, and what is not known here goes on as it is', () => {
    const event = fromJson(newer);
    expect(event).toMatchObject({ id: combined.id, key: combined.key, data: { batch: 1, added: { deep: [1] } } });
    expect((event.data as BatchCombined).manifest).toMatchObject({ sha256: 'x' });
    expect(JSON.parse(toJson(event))).toMatchObject({ data: { added: { deep: [1] }, manifest: { sha256: 'x' } } });
    expect((event.data as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('is not made here: a field that is misspelt is an error', () => {
    const fields = { runId, logicalDate: '2024-06-25', immediatly: true };
    expect(() => envelope(RunRequested, 'cli', fields)).toThrow(/immediatly/);
  });
});
