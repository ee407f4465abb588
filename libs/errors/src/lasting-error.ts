/** The base of errors that trying again cannot mend. Everything else is taken for a passing fault. */
export abstract class LastingError extends Error {
  readonly lasting = true;

  override get name(): string {
    return this.constructor.name;
  }
}

/** Whether trying again cannot help. */
export function isLasting(error: unknown): boolean {
  return typeof error === 'object' && error !== null && (error as { lasting?: unknown }).lasting === true;
}

/**
 * An error in one line for a log, a header or a run's status, with what caused it. Control characters are taken out.
 */
export function describeError(error: unknown, limit = 1_000): string {
  const parts: string[] = [];
  for (
    let each: unknown = error;
    each !== undefined && each !== null && parts.length < 4;
    each = (each as { cause?: unknown }).cause
  ) {
    if (each instanceof AggregateError && !each.message)
      parts.push(`${each.name}: ${each.errors.map((e) => describeError(e, 200)).join(', ')}`);
    else parts.push(each instanceof Error ? `${each.name}: ${each.message}` : String(each));
  }
  // eslint-disable-next-line no-control-regex -- they are what has to go
  const line = parts.join(' <- ').replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
  return line.length > limit ? `${line.slice(0, limit - 1)}…` : line;
}
