/** Something a stage has accepted and not finished. Times are epoch milliseconds. */
export interface WorkItem {
  readonly id: string;
  /** The topic, text and headers of the message that asked for it. */
  readonly topic: string;
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How often it failed. */
  readonly attempts: number;
  /**
   * How often it was begun since it last came to an end, well or not: more than one means that a process died on it.
   */
  readonly claims: number;
  readonly notBefore: number;
  readonly leaseUntil: number;
  readonly leaseOwner?: string;
  readonly lastError?: string;
  /** When it last got on, as told with its lease; absent where a version before this one accepted it. */
  readonly progressAt?: number;
}
