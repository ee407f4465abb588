import type { Server } from './local-stack';

/** Servers that can be shared: what is in them has names that can be told apart. */
export const SHARED_SERVERS = ['dynamodb', 's3'] as const satisfies readonly Server[];

/** Servers that several processes use at the same time, by their ports on loopback. */
export type SharedServers = Readonly<Partial<Record<Server, number>>>;

const VARIABLE = 'SHARED_SERVERS';

/** The servers that whoever started this process has up: `npm test` has some; who runs a suite by itself has none. */
export function sharedServers(): SharedServers {
  return JSON.parse(process.env[VARIABLE] ?? '{}') as SharedServers;
}
