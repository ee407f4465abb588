import { type Server, createServer } from 'node:http';
import { Counter, Registry, collectDefaultMetrics } from 'prom-client';
import type { MessageOutcome } from '@music/messaging';

/** Liveness, readiness and metrics on a port of their own. */
export class Health {
  private readonly registry = new Registry();
  private readonly messages: Counter<'outcome' | 'topic'>;
  private readonly server: Server;

  constructor(service: string, ready: () => string[]) {
    this.registry.setDefaultLabels({ service });
    collectDefaultMetrics({ register: this.registry });
    this.messages = new Counter({
      name: 'music_messages_total',
      help: 'Messages by topic and what became of them',
      labelNames: ['outcome', 'topic'],
      registers: [this.registry],
    });
    this.server = createServer((request, response) => {
      const answer = (status: number, body: string, type = 'text/plain') => response.writeHead(status, { 'content-type': type }).end(body);
      if (request.method !== 'GET') return answer(405, 'only GET\n');
      if (request.url === '/livez') return answer(200, 'alive\n');
      if (request.url === '/readyz') {
        const missing = ready();
        return answer(missing.length === 0 ? 200 : 503, missing.length === 0 ? 'ready\n' : `not ready: ${missing.join(', ')}\n`);
      }
      if (request.url === '/metrics')
        return void this.registry.metrics().then(
          (text) => answer(200, text, this.registry.contentType),
          () => answer(500, 'no metrics\n'),
        );
      return answer(404, 'not found\n');
    });
  }

  observe(outcome: MessageOutcome, topic: string): void {
    this.messages.inc({ outcome, topic });
  }

  /** Gives the port. */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => this.server.once('error', reject).listen(port, host, resolve));
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
