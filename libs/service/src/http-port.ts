import { type RequestListener, type Server, createServer } from 'node:http';

/** A small HTTP server of a service: its health, its metrics. */
export class HttpPort {
  private readonly server: Server;

  constructor(answer: RequestListener) {
    this.server = createServer(answer);
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
