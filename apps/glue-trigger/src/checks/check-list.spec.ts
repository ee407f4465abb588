import defaults from '@music/glue/checks/checks.yaml';
import { readChecks } from './check-list';

const read = (text: string) => readChecks(text, 'checks.yaml');
const problemsOf = (text: string): readonly string[] => {
  try {
    read(text);
  } catch (error) {
    return (error as { problems?: readonly string[] }).problems ?? [String(error)];
  }
  return [];
};

describe('the list of checks', () => {
  it('that is there by default is right, and has every check', () => {
    const names = new Set(read(defaults).map(({ name }) => name));
    expect(names.size).toBe(10);
  });

  it('gives each check with its level and what its SQL takes', () => {
    expect(read('checks: [{ check: volume, level: hold, last: 4, below: 0.5 }]')).toEqual([
      {
        name: 'volume',
        level: 'hold',
        parameters: { against: 'same_weekday', last: 4, least: 3, below: 0.5, above: expect.any(Number) },
      },
    ]);
    expect(read('checks: []')).toEqual([]);
  });

  it('says all that is wrong with it', () => {
    expect(
      problemsOf(`
checks:
  - { check: volumes, level: hold }
  - { check: volume, level: stop, last: 0 }
  - { check: unknown_tracks, level: warn, more_than: 20 }
  - { check: catalogue_shrank, level: warn, by: 0.1, at_least: 3 }
  - text
more: 1
`),
    ).toEqual([
      'checks.yaml: more is not known here',
      expect.stringMatching(/^checks.yaml: check 1: check is one of volume, .*, not "volumes"$/),
      expect.stringMatching(/^checks.yaml: check 2 \(volume\): last must not be less than 1/),
      expect.stringMatching(/^checks.yaml: check 2 \(volume\): level must be one of/),
      expect.stringMatching(/^checks.yaml: check 3 \(unknown_tracks\): more_than must not be greater than 1/),
      expect.stringMatching(/^checks.yaml: check 4 \(catalogue_shrank\): property at_least should not exist/),
      'checks.yaml: check 5 is no mapping',
    ]);
    expect(problemsOf('checks: {')[0]).toMatch(/^checks.yaml: /);
    expect(problemsOf('')).toEqual(['checks.yaml: it has no list `checks`']);
    expect(problemsOf('checks: 1')).toEqual(['checks.yaml: it has no list `checks`']);
  });
});
