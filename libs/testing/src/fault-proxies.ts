import { type IncomingMessage, type Server as HttpServer, type ServerResponse, createServer, request } from 'node:http';
import { type Server as NetServer, type Socket, connect, createServer as createNetServer } from 'node:net';
import { type ServerCall, dynamoCall, glueCall, kafkaCall, s3Call, sqsCall } from './server-call';

const HOST = '127.0.0.1';
const MAX_NAMED_BODY = 16 * 2 ** 20; // bytes; the largest that DynamoDB and Glue take

/** Who calls: a stage, or `cli`. */
export type Caller = string;
export type ProxiedServer = ServerCall['server'];

export interface ProxiedCall extends ServerCall {
  readonly caller: Caller;
}

/** Before the server has the call; after it has answered and before the caller has the answer. */
export type Phase = 'before' | 'after';

/**
 * What becomes of a call: `pass`; `cut`: the connection breaks; or an answer in the server's place (HTTP, `before`
 * only). A gate that takes its time makes the server slow; one that never resolves is a connection that is open at one
 * end only.
 */
export type Verdict = 'pass' | 'cut' | { readonly status: number; readonly body: string; readonly type: string };
export type Gate = (call: ProxiedCall, phase: Phase) => Verdict | Promise<Verdict>;

/** The answer of S3 to a call that fails. A failure with status 200 is how it ends long copies. */
export function s3Error(status: number, code: string): Verdict {
  return {
    status,
    type: 'application/xml',
    body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>Injected.</Message></Error>`,
  };
}

/** Stands between services and servers, tells a gate of each call and does to it what the gate says. */
export class FaultProxies {
  gate: Gate = () => 'pass';
  private readonly ports = new Map<string, HttpProxy>();
  private kafka: KafkaProxy | undefined;

  /**
   * One port a caller for each HTTP server of `endpoints`; that of SQS is the URL of a queue. Kafka's brokers name their address themselves, so there is
   * one port, `kafka.port`, which they must advertise; who calls stands in Kafka's client id, `music-<caller>`.
   */
  static async start(
    callers: readonly Caller[],
    endpoints: Readonly<Partial<Record<Exclude<ProxiedServer, 'kafka'>, string>>>,
    kafka?: { readonly brokers: string; readonly port: number },
  ): Promise<FaultProxies> {
    const proxies = new FaultProxies();
    const gate: Gate = (call, phase) => proxies.gate(call, phase);
    for (const caller of callers) {
      for (const [server, url] of Object.entries(endpoints)) {
        if (url === undefined) continue;
        const proxy = new HttpProxy(caller, server as Exclude<ProxiedServer, 'kafka'>, new URL(url), gate);
        await proxy.listen();
        proxies.ports.set(`${caller} ${server}`, proxy);
      }
    }
    if (kafka !== undefined) {
      proxies.kafka = new KafkaProxy(kafka.brokers, kafka.port, gate);
      await proxies.kafka.listen();
    }
    return proxies;
  }

  /** What makes a caller use the proxies, in place of the servers' own addresses. */
  env(caller: Caller): Record<string, string> {
    const url = (server: string) => {
      const proxy = this.ports.get(`${caller} ${server}`);
      return proxy === undefined ? {} : { [`AWS_ENDPOINT_URL_${server.toUpperCase()}`]: proxy.url };
    };
    const kafka: Record<string, string> =
      this.kafka === undefined ? {} : { KAFKA_BROKERS: `${HOST}:${this.kafka.port}` };
    const queue = this.ports.get(`${caller} sqs`);
    const sqs: Record<string, string> =
      queue === undefined ? {} : { ARRIVAL_QUEUE_URL: `${queue.url}${queue.target.pathname}` };
    return { ...url('s3'), ...url('dynamodb'), ...url('glue'), ...kafka, ...sqs };
  }

  /** Nobody listens where a server was, for every caller. */
  async down(server: ProxiedServer): Promise<void> {
    await Promise.all(this.of(server).map((proxy) => proxy.close()));
  }

  async up(server: ProxiedServer): Promise<void> {
    await Promise.all(this.of(server).map((proxy) => proxy.listen()));
  }

  async stop(): Promise<void> {
    await Promise.all(
      [...this.ports.values(), ...(this.kafka === undefined ? [] : [this.kafka])].map((proxy) => proxy.close()),
    );
  }

  private of(server: ProxiedServer): (HttpProxy | KafkaProxy)[] {
    if (server === 'kafka') return this.kafka === undefined ? [] : [this.kafka];
    return [...this.ports].filter(([name]) => name.endsWith(` ${server}`)).map(([, proxy]) => proxy);
  }
}

const JSON_CALLS = { dynamodb: dynamoCall, glue: glueCall, sqs: sqsCall };

/** HTTP, passed on as it came: with its Host header and the order of headers, so that signatures hold. */
class HttpProxy {
  private server: HttpServer | undefined;
  private port = 0;

  constructor(
    private readonly caller: Caller,
    private readonly kind: Exclude<ProxiedServer, 'kafka'>,
    readonly target: URL,
    private readonly gate: Gate,
  ) {}

  get url(): string {
    return `http://${HOST}:${this.port}`;
  }

  async listen(): Promise<void> {
    const server = createServer((incoming, outgoing) => {
      this.pass(incoming, outgoing).catch(() => incoming.socket.destroy());
    });
    server.keepAliveTimeout = 60_000;
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, HOST, resolve));
    this.port = (server.address() as { port: number }).port;
    this.server = server;
  }

  async close(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    if (server === undefined) return;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  private async pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const url = incoming.url ?? '';
    // Objects pass as they come; a list of objects to remove is small.
    const isSmall = this.kind !== 's3' || (incoming.method === 'POST' && /\?(.*&)?delete(&|=|$)/.test(url));
    const body = isSmall ? await read(incoming) : undefined;
    const named =
      this.kind === 's3'
        ? s3Call(incoming.method ?? '', url, incoming.headers, body?.toString())
        : JSON_CALLS[this.kind](String(incoming.headers['x-amz-target']), String(body));
    const call: ProxiedCall = { ...named, caller: this.caller };
    const verdict = await this.gate(call, 'before');
    if (verdict === 'cut') return void incoming.socket.destroy();
    if (verdict !== 'pass') {
      incoming.resume();
      outgoing.writeHead(verdict.status, { 'content-type': verdict.type }).end(verdict.body);
      return;
    }
    const { hostname, port } = this.target;
    const upstream = request({
      hostname,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.rawHeaders,
      agent: false,
    });
    const answer = new Promise<IncomingMessage>((resolve, reject) =>
      upstream.once('response', resolve).once('error', reject),
    );
    incoming.once('aborted', () => upstream.destroy());
    if (body === undefined) incoming.pipe(upstream);
    else upstream.end(body);
    const response = await answer;
    if ((await this.gate(call, 'after')) === 'cut') {
      response.destroy();
      incoming.socket.destroy();
      return;
    }
    outgoing.writeHead(response.statusCode ?? 502, response.rawHeaders);
    response.once('error', () => outgoing.destroy());
    response.pipe(outgoing);
  }
}

async function read(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_NAMED_BODY) throw new RangeError('the body is too long to be named');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** Kafka's protocol, frame by frame: each has its length before it, and answers come in the order of the requests. */
class KafkaProxy {
  private server: NetServer | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(
    private readonly brokers: string,
    readonly port: number,
    private readonly gate: Gate,
  ) {}

  async listen(): Promise<void> {
    const server = createNetServer((client) => this.accept(client));
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(this.port, HOST, resolve));
    this.server = server;
  }

  async close(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private accept(client: Socket): void {
    const [host = HOST, port = ''] = this.brokers.split(':');
    const broker = connect(Number(port), host);
    const cut = () => {
      client.destroy();
      broker.destroy();
    };
    for (const socket of [client, broker]) {
      this.sockets.add(socket.setNoDelay(true));
      socket.on('error', cut).on('close', () => {
        this.sockets.delete(socket);
        cut();
      });
    }
    const waiting = new Map<number, ProxiedCall>();
    eachFrame(client, cut, async (frame) => {
      const { id, ...call } = kafkaCall(frame);
      waiting.set(id, call);
      if ((await this.gate(call, 'before')) === 'cut') return cut();
      broker.write(frame);
    });
    eachFrame(broker, cut, async (frame) => {
      const id = frame.readInt32BE(4);
      const call = waiting.get(id);
      waiting.delete(id);
      if (call !== undefined && (await this.gate(call, 'after')) === 'cut') return cut();
      client.write(frame);
    });
  }
}

/** Calls `handle` with each frame, length included, one after the other. */
function eachFrame(socket: Socket, onError: () => void, handle: (frame: Buffer) => Promise<void>): void {
  let rest = Buffer.alloc(0);
  let handled = Promise.resolve();
  socket.on('data', (data) => {
    rest = Buffer.concat([rest, data]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0);
      const frame = rest.subarray(0, end);
      rest = rest.subarray(end);
      handled = handled.then(() => handle(frame)).catch(onError);
    }
  });
}
