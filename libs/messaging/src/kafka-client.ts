import { type Socket, connect, isIP } from 'node:net';
import { connect as connectTls, rootCertificates } from 'node:tls';
import { type ISocketFactoryArgs, Kafka, logLevel } from 'kafkajs';
import { describeError } from '@music/errors';
import type { KafkaLogin } from './login/kafka-login';
import { quietRequestQueue } from './quiet-request-queue';

export interface KafkaOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly tls: boolean;
  /** Authorities to trust besides, as PEM text. */
  readonly ca?: string;
  /** Undefined where brokers ask for no login. */
  readonly login?: KafkaLogin;
  /** After so long without an answer a connection counts as broken. */
  readonly callTimeoutMs: number;
}

const KEEP_ALIVE_MS = 60_000;

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** kafkajs, quiet about what it mends by itself. It is used in this library and nowhere else. */
export function kafkaClient(options: KafkaOptions, log: Log): Kafka {
  process.env['KAFKAJS_NO_PARTITIONER_WARNING'] = '1';
  quietRequestQueue();
  return new Kafka({
    brokers: [...options.brokers],
    clientId: options.clientId,
    ssl: options.tls && options.ca !== undefined ? { ca: [options.ca, ...rootCertificates] } : options.tls,
    sasl: options.login?.sasl,
    socketFactory: (to) => answeringSocket(to, options.callTimeoutMs),
    connectionTimeout: 5_000,
    requestTimeout: options.callTimeoutMs,
    retry: { initialRetryTime: 100, maxRetryTime: 5_000, retries: 5 },
    logLevel: logLevel.WARN,
    logCreator:
      () =>
      ({ log: { message, error, ...rest } }) =>
        log.warn({ kafka: { error, groupId: rest['groupId'], broker: rest['broker'] } }, message),
  });
}

/**
 * A connection that is given up when what was sent on it has no answer for `timeoutMs`. kafkajs itself gives up the
 * request only, and sends the next one on the same connection, be it open at this end alone.
 */
function answeringSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs, timeoutMs: number): Socket {
  const socket = ssl
    ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...ssl }, onConnect)
    : connect({ host, port }, onConnect);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  let waiting: NodeJS.Timeout | undefined;
  const answered = () => {
    clearTimeout(waiting);
    waiting = undefined;
  };
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  socket.write = (...args: unknown[]) => {
    waiting ??= setTimeout(() => socket.emit('timeout'), timeoutMs).unref(); // upon which kafkajs closes it
    return write(...args);
  };
  return socket.on('data', answered).on('close', answered);
}

/** Keeps trying what needs a broker until it succeeds or `signal` is aborted, a growing while apart. */
export async function untilConnected(
  what: string,
  connect: () => Promise<void>,
  log: Log,
  signal: AbortSignal,
): Promise<boolean> {
  for (let delay = 200; !signal.aborted; delay = Math.min(delay * 2, 5_000)) {
    try {
      await connect();
      return true;
    } catch (error) {
      log.warn({ error: describeError(error) }, `${what}: Kafka cannot be reached; trying again in ${delay} ms`);
      await pause(delay, signal);
    }
  }
  return false;
}

/** Waits; less long where `signal` is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}
