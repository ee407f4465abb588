import { readFileSync } from 'node:fs';
import path from 'node:path';
import { PATIENCE_MS, workspaceRoot } from '@music/local-stack';
import Ajv, { type ValidateFunction } from 'ajv/dist/2020';
import addFormats from 'ajv-formats';

interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface Operation {
  readonly operationId: string;
  readonly 'x-role': string;
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

export const OPEN_API = JSON.parse(
  readFileSync(path.join(workspaceRoot(), 'apps/api/openapi.json'), 'utf8'),
) as OpenApi;

export interface Called {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Undefined where it is no JSON. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what it is, is checked against the document
  readonly body: any;
}

/** Calls the API; throws where an answer is not as the OpenAPI document says. */
export class ApiCaller {
  private readonly schemas = new Map<object, ValidateFunction>();
  private readonly ajv = new Ajv({ strict: false, allErrors: true });
  /** Operations that were called, with the statuses they gave. */
  readonly seen = new Map<string, Set<number>>();

  constructor(
    private readonly url: () => string,
    private readonly headers: Readonly<Record<string, string>> = {},
  ) {
    addFormats(this.ajv);
    this.ajv.addSchema(OPEN_API as object, 'api');
  }

  get(route: string, headers: Readonly<Record<string, string>> = {}): Promise<Called> {
    return this.call('GET', route, undefined, headers);
  }

  post(route: string, body?: object, headers: Readonly<Record<string, string>> = {}): Promise<Called> {
    return this.call('POST', route, body, headers);
  }

  async call(
    method: string,
    route: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Called> {
    const json: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await fetch(`${this.url()}${route}`, {
      method,
      headers: { ...json, ...this.headers, ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    const type = answer.headers.get('content-type')?.split(';')[0] ?? '';
    const called: Called = {
      status: answer.status,
      headers: answer.headers,
      text,
      body: type.endsWith('json') ? JSON.parse(text) : undefined,
    };
    this.check(method, route, type, called);
    return called;
  }

  private check(method: string, route: string, type: string, { status, body, text }: Called): void {
    const operation = this.operationOf(method, route);
    if (status >= 400 && type !== 'application/problem+json')
      throw new Error(`${method} ${route}: ${status} as ${type}: ${text}`);
    if (operation === undefined) return;
    const { operationId, responses } = operation;
    this.seen.set(operationId, (this.seen.get(operationId) ?? new Set()).add(status));
    if (status === 304) return;
    const content = (responses[status] ?? responses['default'])?.content?.[type];
    if (content === undefined) throw new Error(`${operationId}: ${status} as ${type} is not in the document: ${text}`);
    if (body === undefined) return;
    const validate = this.schemas.get(content.schema) ?? this.ajv.compile(absolute(content.schema));
    this.schemas.set(content.schema, validate);
    if (!validate(body))
      throw new Error(`${operationId}: ${this.ajv.errorsText(validate.errors)} in ${text.slice(0, 500)}`);
  }

  private operationOf(method: string, route: string): Operation | undefined {
    const segments = (route.split('?')[0] ?? '').split('/');
    const found = Object.entries(OPEN_API.paths).filter(([template]) => {
      const parts = template.split('/');
      return parts.length === segments.length && parts.every((part, i) => part.startsWith('{') || part === segments[i]);
    });
    const [, item] = found.sort(([a], [b]) => a.split('{').length - b.split('{').length)[0] ?? [];
    return item?.[method.toLowerCase()];
  }
}

/** A schema whose references are into the document. */
function absolute(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components', '"api#/components')) as object;
}

export interface StreamedEvent {
  readonly id: string;
  readonly event: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- several kinds
  readonly data: any;
}

/** Reads a stream of events until `enough`. */
export async function readStream(
  url: string,
  enough: (events: readonly StreamedEvent[]) => boolean,
  { headers = {}, timeoutMs = PATIENCE_MS }: { headers?: Readonly<Record<string, string>>; timeoutMs?: number } = {},
): Promise<StreamedEvent[]> {
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(new Error(`not enough within ${timeoutMs} ms of ${url}`)), timeoutMs);
  const events: StreamedEvent[] = [];
  try {
    const answer = await fetch(url, { headers: { accept: 'text/event-stream', ...headers }, signal: ended.signal });
    if (!answer.ok || answer.body === null) throw new Error(`${answer.status} ${await answer.text()}`);
    let rest = '';
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + chunk).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
        const [id, event, data] = [field('id'), field('event'), field('data')];
        if (id !== undefined && event !== undefined && data !== undefined)
          events.push({ id, event, data: JSON.parse(data) });
      }
      if (enough(events)) return events;
    }
    return events;
  } finally {
    clearTimeout(timer);
    ended.abort();
  }
}
