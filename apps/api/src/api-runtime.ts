import type { Logger, Metrics, Stores, Tracing } from '@music/service';
import type { ApiConfig } from './api.config';

/** What every part of the API may ask for. */
export class ApiRuntime {
  constructor(
    readonly config: ApiConfig,
    readonly stores: Stores,
    readonly logger: Logger,
    readonly metrics: Metrics,
    readonly tracing: Tracing,
  ) {}
}
