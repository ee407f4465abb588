import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Metrics, Tracing, openStores, serviceLogger } from '@music/service';
import type { INestApplication } from '@nestjs/common';
import type { OpenAPIObject } from '@nestjs/swagger';
import { ApiRuntime } from './api-runtime';
import { loadApiConfig } from './api.config';
import { openApi } from './openapi';
import { createApi } from './start-api';

const FILE = path.join(__dirname, '../openapi.json');

describe('the OpenAPI document', () => {
  let app: INestApplication;
  let document: OpenAPIObject;

  beforeAll(async () => {
    const config = loadApiConfig({ KAFKA_BROKERS: 'localhost:1', LOG_LEVEL: 'silent' });
    const logger = serviceLogger('api', 'silent');
    const stores = openStores(config, 'api', logger);
    app = await createApi(new ApiRuntime(config, stores, logger, new Metrics('api'), new Tracing('api', {})));
    document = openApi(app);
  });
  afterAll(() => app.close());

  it('is the file that is kept: UPDATE_OPENAPI=true npx jest -c apps/api/jest.config.cjs openapi writes it', () => {
    const text = `${JSON.stringify(document, undefined, 2)}\n`;
    if (process.env['UPDATE_OPENAPI'] === 'true') writeFileSync(FILE, text);
    expect(JSON.parse(text)).toEqual(JSON.parse(readFileSync(FILE, 'utf8')));
  });

  const operations = () =>
    Object.entries(document.paths).flatMap(([route, item]) =>
      Object.entries(item as Record<string, Record<string, unknown>>).map(([method, operation]) => ({
        name: `${method} ${route}`,
        method,
        operation,
      })),
    );

  it('says which role each operation needs: to ask, that of an operator', () => {
    for (const { name, method, operation } of operations())
      expect([name, operation['x-role'], operation['security']]).toEqual([
        name,
        method === 'get' ? 'reader' : 'operator',
        [{ bearer: [] }],
      ]);
    expect(operations()).toHaveLength(23);
  });

  it('describes every parameter, field and answer', () => {
    const undescribed: string[] = [];
    for (const { name, operation } of operations()) {
      for (const { name: of, description } of (operation['parameters'] ?? []) as {
        name: string;
        description?: string;
      }[])
        if (!description) undescribed.push(`${name} ${of}`);
      if (!operation['summary']) undescribed.push(name);
    }
    expect(undescribed).toEqual([]);
  });
});
