import { type DeadLetter, listOpenDeadLetters } from '@music/messaging';
import { Injectable } from '@nestjs/common';
import { ApiRuntime } from '../api-runtime';
import { withinPatience } from './patience';

/** Reading topics takes a second, and what they hold seldom changes. */
const GOOD_FOR_MS = 2_000;

/** Dead letters that were not put back, read from Kafka at most every 2 s, however many ask. */
@Injectable()
export class DeadLetterBox {
  private read: Promise<DeadLetter[]> | undefined;

  constructor(private readonly runtime: ApiRuntime) {}

  /** Oldest first. */
  open(): Promise<DeadLetter[]> {
    if (this.read === undefined) {
      const { kafka, runs } = this.runtime.stores;
      const read = withinPatience(listOpenDeadLetters(kafka, runs));
      this.read = read;
      const forget = () => {
        if (this.read === read) this.read = undefined;
      };
      read.then(() => setTimeout(forget, GOOD_FOR_MS).unref(), forget);
    }
    return this.read;
  }
}
