/**
 * Names of what writers and people leave beside files of data: marks of a committed write, halves of one that is not,
 * folders as objects, downloads that have not ended. `*` stands for any characters; a name is one part of a key.
 */
export const LEAVE_NAMES: readonly string[] = [
  '_*',
  '.*',
  '*_$folder$',
  '*.tmp',
  '*.part',
  '*.partial',
  '*.crdownload',
  '*.filepart',
];

/** Gives, for a key, the part of it that says it is no file of data, and the pattern that says so. */
export function leavesBy(
  patterns: readonly string[],
): (key: string) => { readonly part: string; readonly pattern: string } | undefined {
  const rules = patterns.map((pattern) => ({
    pattern,
    matches: new RegExp(`^${pattern.split('*').map(escape).join('.*')}$`, 'is'),
  }));
  return (key) => {
    for (const part of key.split('/')) {
      const rule = part === '' ? undefined : rules.find(({ matches }) => matches.test(part));
      if (rule !== undefined) return { part, pattern: rule.pattern };
    }
    return undefined;
  };
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
