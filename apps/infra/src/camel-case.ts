/**
 * What an AWS API calls `TableName`, CDK's constructs call `tableName`. Names that are not the API's own stay as they
 * are: those that begin with something else, such as arguments of a job, and those of parameters.
 */
export function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [
      `${name.charAt(0).toLowerCase()}${name.slice(1)}`,
      name === 'Parameters' ? each : camelCased(each),
    ]),
  );
}
