import { Injectable } from '@nestjs/common';
import { ThrottlerGuard } from '@nestjs/throttler';
import type { ApiRequest } from './caller';

/** Counts the requests of each caller, or of each address where nobody is known. */
@Injectable()
export class CallerThrottler extends ThrottlerGuard {
  protected override async getTracker(request: Record<string, unknown>): Promise<string> {
    const { caller, ip } = request as unknown as ApiRequest;
    return caller === undefined || caller.name === 'anonymous' ? `address ${ip}` : `caller ${caller.name}`;
  }

  /** One count a caller, not one a route. */
  protected override generateKey(_: unknown, tracker: string, name: string): string {
    return `${name} ${tracker}`;
  }
}
