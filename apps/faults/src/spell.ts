import { setTimeout as pause } from 'node:timers/promises';
import {
  type FaultProxies,
  type Gate,
  type ProxiedCall,
  type ProxiedServer,
  type Verdict,
  s3Error,
} from '@music/testing';
import { WHOLE } from './fault-log';

export const SERVER_FAULTS = ['down', 'slow', 'throttling', 'half-open'] as const;
export type ServerFault = (typeof SERVER_FAULTS)[number];

/** How long a server is not itself. */
export const SPELL_MS = WHOLE ? 30_000 : 4_000;
const SLOW_MS = WHOLE ? 5_000 : 1_000;
/** What services are started with, so that they give up connections that do not answer within a spell. */
export const IMPATIENT = { CALL_TIMEOUT_SECONDS: '6' };

// Brokers slow a client down by quotas; they never refuse.
const THROTTLED: Readonly<Record<ProxiedServer, Verdict | undefined>> = {
  kafka: undefined,
  s3: s3Error(503, 'SlowDown'),
  dynamodb: {
    status: 400,
    type: 'application/x-amz-json-1.0',
    body: JSON.stringify({
      __type: 'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException',
      message: 'The level of configured provisioned throughput for the table was exceeded.',
    }),
  },
  glue: {
    status: 400,
    type: 'application/x-amz-json-1.1',
    body: JSON.stringify({ __type: 'ThrottlingException', message: 'Rate exceeded' }),
  },
  sqs: {
    status: 400,
    type: 'application/x-amz-json-1.0',
    body: JSON.stringify({ __type: 'com.amazonaws.sqs#RequestThrottled', message: 'Rate exceeded' }),
  },
};

/** The faults that a server can have. */
export const faultsOf = (server: ProxiedServer): readonly ServerFault[] =>
  SERVER_FAULTS.filter((fault) => fault !== 'throttling' || THROTTLED[server] !== undefined);

/** A while in which a server is not itself. */
export class Spell {
  /** How often it was felt: an outage, and each call of the server that met it. */
  met = 0;
  private lasts: Promise<void> | undefined;
  private over = false;

  constructor(
    private readonly proxies: FaultProxies,
    private readonly server: ProxiedServer,
    private readonly fault: ServerFault,
    /** Asked of each call until it says so: then the spell begins. */
    private readonly begins: (call: ProxiedCall) => boolean,
  ) {}

  readonly gate: Gate = async (call, phase): Promise<Verdict> => {
    if (phase === 'before' && this.lasts === undefined && this.begins(call)) this.lasts = this.last();
    if (this.lasts === undefined || this.over || call.server !== this.server) return 'pass';
    if ((this.fault === 'slow') !== (phase === 'after')) return 'pass';
    this.met += 1;
    switch (this.fault) {
      case 'down':
        return 'cut';
      case 'slow':
        await pause(SLOW_MS);
        return 'pass';
      case 'throttling':
        return THROTTLED[this.server] ?? 'pass';
      case 'half-open':
        return new Promise<never>(() => undefined);
    }
  };

  /** Resolves when the server is itself again. */
  async end(): Promise<void> {
    await this.lasts;
  }

  private async last(): Promise<void> {
    if (this.fault === 'down') {
      this.met += 1;
      await this.proxies.down(this.server);
    }
    await pause(SPELL_MS);
    this.over = true;
    if (this.fault === 'down') await this.proxies.up(this.server);
  }
}
