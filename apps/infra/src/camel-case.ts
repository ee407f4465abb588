/**
 * What an AWS API calls `TableName`, CDK's constructs call `tableName`. Names that begin with something else, such as
 * arguments of a job, stay as they are.
 */
export function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [`${name.charAt(0).toLowerCase()}${name.slice(1)}`, camelCased(each)]),
  );
}
