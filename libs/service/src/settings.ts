import 'reflect-metadata';
import { validateSync } from 'class-validator';

const SETTINGS = Symbol('settings');

export interface SettingSpec {
  readonly property: string;
  readonly env: string;
  /** What it does, its unit, for a person. */
  readonly help: string;
}

/** Thrown when settings are wrong; names every one that is. */
export class WrongSettings extends Error {
  override readonly name = 'WrongSettings';
  constructor(readonly problems: readonly string[]) {
    super(`wrong settings:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
}

/** Reads a property of a config class from an environment variable, as the property's type. */
export function Setting(env: string, help: string): PropertyDecorator {
  return (target, property) => {
    const specs = (Reflect.getMetadata(SETTINGS, target) ?? []) as SettingSpec[];
    Reflect.defineMetadata(
      SETTINGS,
      [...specs.filter((spec) => spec.env !== env), { property: String(property), env, help }],
      target,
    );
  };
}

/** All settings of a config class, its base classes' first. */
export function settingsOf(config: new () => object): SettingSpec[] {
  return (Reflect.getMetadata(SETTINGS, config.prototype as object) ?? []) as SettingSpec[];
}

/** A config from the environment; empty variables count as absent. Throws WrongSettings with all that is wrong. */
export function loadSettings<T extends object>(type: new () => T, env: NodeJS.ProcessEnv): T {
  const config = new type();
  const problems: string[] = [];
  for (const { property, env: name } of settingsOf(type)) {
    const value = env[name]?.trim();
    if (value === undefined || value === '') continue;
    const kind = Reflect.getMetadata('design:type', type.prototype as object, property) as unknown;
    if (kind === Number && !Number.isFinite(Number(value))) problems.push(`${name}=${value}: must be a number`);
    else if (kind === Boolean && !/^(true|false)$/.test(value))
      problems.push(`${name}=${value}: must be true or false`);
    else
      (config as Record<string, unknown>)[property] =
        kind === Number
          ? Number(value)
          : kind === Boolean
            ? value === 'true'
            : kind === Array
              ? value.split(',').map((each) => each.trim())
              : value;
  }
  const nameOf = new Map(settingsOf(type).map(({ property, env: name }) => [property, name]));
  for (const { property, value, constraints } of validateSync(config, { stopAtFirstError: true })) {
    const name = nameOf.get(property) ?? property;
    if (problems.some((problem) => problem.startsWith(`${name}=`))) continue;
    problems.push(
      `${name}=${value === undefined ? '' : String(value)}: ${Object.values(constraints ?? {})
        .map((text) => text.replace(`${property} `, ''))
        .join(', ')}`,
    );
  }
  if (problems.length > 0) throw new WrongSettings(problems);
  return config;
}

/** Settings of a service; wrong ones end the process at once, all of them named. */
export function settingsOrExit<T>(service: string, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof WrongSettings)) throw error;
    process.stderr.write(`${service} does not start: ${error.message}\n`);
    process.exit(2);
  }
}
