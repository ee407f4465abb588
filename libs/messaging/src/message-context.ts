import { BaseRpcContext } from '@nestjs/microservices';

/** What a handler may know of its message besides the event. */
export class MessageContext extends BaseRpcContext<[Readonly<Record<string, string>>]> {
  get headers(): Readonly<Record<string, string>> {
    return this.args[0];
  }
}
