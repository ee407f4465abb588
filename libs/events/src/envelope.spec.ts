import { BatchCombined, RunRequested, SchemaViolation, envelope, fromJson, toJson } from './index';

const manifest = { bucket: 'b', key: 'runs/manifest.json', etag: 'e', size: 10 };
const combined = envelope(BatchCombined, 'combiner', {
  runId: 'scheduled__2024-06-25',
  batch: 7,
  manifest,
  evidence: manifest,
});

describe('an event over Kafka', () => {
  it('comes back as it went', () => {
    const back = fromJson(toJson(combined));
    expect(back).toEqual(combined);
    expect(back.data).toBeInstanceOf(BatchCombined);
  });

  it('has the same id when it is sent again, and a key a batch', () => {
    const again = envelope(BatchCombined, 'combiner', { ...combined.data }, new Date(0));
    expect(again.id).toBe(combined.id);
    expect(again.key).toBe('scheduled__2024-06-25/7');
  });

  it.each([
    ['not JSON', '{', /not JSON/],
    ['no CloudEvent', '{"id": 1}', /not a CloudEvent/],
    ['of an unknown type', toJson(combined).replaceAll('music.batch.combined', 'music.other'), /music\.other/],
    ['with a wrong nested field', toJson(combined).replaceAll('"size":10', '"size":-1'), /manifest\.size/],
    ['with a run id that could be a path', toJson(combined).replaceAll('scheduled__2024-06-25', '../x'), /runId/],
  ])('is refused when it is %s, with the reason', (_, text, reason) => {
    expect(() => fromJson(text)).toThrow(SchemaViolation);
    expect(() => fromJson(text)).toThrow(reason);
  });

  it('refuses to be built wrong', () => {
    expect(() => envelope(RunRequested, 'cli', { runId: 'scheduled__2024-06-25', logicalDate: '2024-13-01' })).toThrow(
      /logicalDate/,
    );
  });
});
