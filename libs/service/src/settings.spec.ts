import { IsBoolean, IsInt, IsOptional, Matches, Max, Min } from 'class-validator';
import { EngineServiceConfig } from './engine-config';
import { Setting, WrongSettings, loadSettings, settingsOf } from './settings';

class Base {
  @Setting('COUNT', 'how many') @IsInt() @Min(1) @Max(10) count: number = 3;
}
class Config extends Base {
  @Setting('ON', 'whether') @IsBoolean() on: boolean = false;
  @Setting('HOSTS', 'which') @Matches(/^\w+:\d+$/, { each: true }) hosts: string[] = [];
  @Setting('NAME', 'what') @IsOptional() @Matches(/^[a-z]+$/) name?: string;
}

describe('settings', () => {
  it('come from the environment, as what they are', () => {
    expect(loadSettings(Config, { COUNT: '7', ON: 'true', HOSTS: 'a:1, b:2', NAME: 'x' })).toMatchObject({
      count: 7,
      on: true,
      hosts: ['a:1', 'b:2'],
      name: 'x',
    });
    expect(loadSettings(Config, { COUNT: '', OTHER: 'x' })).toMatchObject({ count: 3, on: false });
  });

  it('are all named when they are wrong', () => {
    const load = () => loadSettings(Config, { COUNT: '11', ON: 'yes', HOSTS: 'a', NAME: 'A' });
    expect(load).toThrow(WrongSettings);
    for (const name of ['COUNT=11', 'ON=yes', 'HOSTS=a', 'NAME=A']) expect(load).toThrow(name);
    expect(() => loadSettings(Config, { COUNT: 'many' })).toThrow('COUNT=many: must be a number');
  });

  it('can be listed', () => {
    expect(settingsOf(Config).map(({ env }) => env)).toEqual(['COUNT', 'ON', 'HOSTS', 'NAME']);
    expect(settingsOf(Base).map(({ env }) => env)).toEqual(['COUNT']);
  });
});

it('an engine that has less memory than its settings need is told so, with the figures', () => {
  const config = loadSettings(EngineServiceConfig, { KAFKA_BROKERS: 'a:1', DUCKDB_MEMORY_MB: '512', CONCURRENCY: '2' });
  expect(config.memoryProblems(1_280 * 2 ** 20)).toEqual([]);
  expect(config.memoryProblems(1_279 * 2 ** 20)).toEqual([
    expect.stringMatching(/need more than 1280 MiB .* may have 1279: raise its memory limit, best to 2304Mi/),
  ]);
});
