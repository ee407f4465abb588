import type { Output } from '@aws-sdk/client-cloudformation';

/** Outputs that are settings, as lines of `settings.env`. Throws where there are none. */
export function settingsEnv(outputs: readonly Output[]): string {
  const lines = outputs
    .filter(({ OutputKey }) => OutputKey?.startsWith('Setting'))
    .map(({ Description, OutputValue }) => `${Description}=${OutputValue}\n`);
  if (lines.length === 0) throw new Error('the stack tells no settings: is it the one of this app, and complete?');
  return lines.toSorted().join('');
}
