import { describeError } from '@music/errors';

/** What a client shows Kafka in place of a password. */
export interface BearerToken {
  readonly value: string;
  /** Milliseconds since 1970, by this machine's clock. */
  readonly expiresAt: number;
  /** By how many milliseconds this machine's clock is ahead of the issuer's, where that is known. */
  readonly clockAheadMs?: number;
}

/** A token is used for other connections as long as it has so much of its life left; after that a new one is made. */
const FRESH = 0.75;
/** Where an issuer hangs, a connection would wait for ever: kafkajs sets no limit of its own. */
const TOKEN_TIMEOUT_MS = 30_000;
/** AWS, and most issuers of tokens, take no more. */
const MAX_CLOCK_DIFFERENCE_MS = 5 * 60_000;
const MINUTE_MS = 60_000;

/**
 * Tokens for logging in to Kafka: made anew before they expire, once for all connections that want one at the same time.
 */
export class BearerTokens {
  private token: { readonly value: string; readonly freshUntil: number } | undefined;
  private making: Promise<string> | undefined;
  private fault: string | undefined;

  /** `issuer`: who makes them, for a person. `make` throws where it cannot, and when its signal says so. */
  constructor(
    private readonly issuer: string,
    private readonly make: (signal: AbortSignal) => Promise<BearerToken>,
  ) {}

  /** What was wrong the last time a token was made, as a sentence; undefined where nothing was. */
  get problem(): string | undefined {
    return this.fault;
  }

  /** A token with most of its life before it. Throws where none can be had. */
  async current(): Promise<string> {
    if (this.token !== undefined && Date.now() < this.token.freshUntil) return this.token.value;
    this.making ??= this.renew().finally(() => (this.making = undefined));
    return this.making;
  }

  private async renew(): Promise<string> {
    const began = Date.now();
    try {
      const { value, expiresAt, clockAheadMs = 0 } = await within(TOKEN_TIMEOUT_MS, this.make);
      this.token = { value, freshUntil: expiresAt - FRESH * (expiresAt - began) };
      this.fault = Math.abs(clockAheadMs) > MAX_CLOCK_DIFFERENCE_MS ? this.clockDiffers(clockAheadMs) : undefined;
      return value;
    } catch (error) {
      this.fault = `${this.issuer} gives no token for Kafka: ${describeError(error)}`;
      throw new Error(`${this.issuer} gives no token for Kafka`, { cause: error });
    }
  }

  private clockDiffers(aheadMs: number): string {
    const minutes = Math.round(Math.abs(aheadMs) / MINUTE_MS);
    return (
      `this machine's clock is ${minutes} minutes ${aheadMs > 0 ? 'ahead of' : 'behind'} that of ${this.issuer}: ` +
      'tokens are refused from 5 minutes on; set the clock by NTP'
    );
  }
}

async function within<T>(ms: number, make: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(ms);
  const late = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(new Error(`no answer for ${ms / 1_000} s`)), { once: true }),
  );
  return Promise.race([make(signal), late]);
}
