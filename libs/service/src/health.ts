import { type Server, createServer } from 'node:http';

/** Liveness, which asks this process alone, and readiness, which says what is missing. */
export class Health {
  private readonly server: Server;

  constructor(ready: () => string[]) {
    this.server = createServer((request, response) => {
      const answer = (status: number, body: string) => response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
      if (request.method !== 'GET') return answer(405, 'only GET\n');
      if (request.url === '/livez') return answer(200, 'alive\n');
      if (request.url !== '/readyz') return answer(404, 'not found\n');
      const missing = ready();
      return answer(missing.length === 0 ? 200 : 503, missing.length === 0 ? 'ready\n' : `not ready: ${missing.join(', ')}\n`);
    });
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
