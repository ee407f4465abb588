import RequestQueue from 'kafkajs/src/network/requestQueue';

/** What the patch needs to know of a queue of kafkajs 2.2.4. */
interface Queue {
  readonly pending: readonly unknown[];
  /** Epoch ms; -1 where the broker throttles nobody. */
  readonly throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

const OVERLOADED_MS = 10;

/**
 * kafkajs looks for pending requests a thousand times a second on each connection, whether there are any or not, which
 * takes 3 % of a core of every idle service (tulios/kafkajs#1704, open). This looks only where a request waits, or a
 * throttled broker is to be asked again.
 */
export function quietRequestQueue(): void {
  RequestQueue.prototype.scheduleCheckPendingRequests = function (this: Queue) {
    if (this.throttleCheckTimeoutId) return;
    const throttledMs = this.throttledUntil - Date.now();
    if (this.pending.length === 0 && throttledMs <= 0) return;
    const again = () => {
      this.throttleCheckTimeoutId = null;
      this.checkPendingRequests();
    };
    this.throttleCheckTimeoutId = setTimeout(again, throttledMs > 0 ? throttledMs : OVERLOADED_MS);
  };
}
