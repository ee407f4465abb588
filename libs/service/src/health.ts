import { HttpPort } from './http-port';

/** Liveness, which asks this process alone, and readiness, which says what is missing. */
export class Health extends HttpPort {
  constructor(ready: () => string[]) {
    super((request, response) => {
      const answer = (status: number, body: string) =>
        response.writeHead(status, { 'content-type': 'text/plain' }).end(body);
      if (request.method !== 'GET') return answer(405, 'only GET\n');
      if (request.url === '/livez') return answer(200, 'alive\n');
      if (request.url !== '/readyz') return answer(404, 'not found\n');
      const missing = ready();
      return answer(
        missing.length === 0 ? 200 : 503,
        missing.length === 0 ? 'ready\n' : `not ready: ${missing.join(', ')}\n`,
      );
    });
  }
}
