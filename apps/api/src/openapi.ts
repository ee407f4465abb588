import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { BEARER } from './auth/needs';
import { Problem } from './http/problem';

const PROBLEM = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };

/** The OpenAPI document of the API, made from the classes that check its requests. */
export function openApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Music streaming pipeline')
    .setVersion('1')
    .setDescription(
      'KPIs per genre and day, runs of the pipeline, and asking for runs. Every error is `application/problem+json`. ' +
        'Lists are JSON arrays, or CSV with `Accept: text/csv`.',
    )
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'A key, or a token of the issuer.' }, BEARER)
    .build();
  const document = SwaggerModule.createDocument(app, config, { extraModels: [Problem] });
  for (const path of Object.values(document.paths)) {
    for (const operation of Object.values(path)) {
      const responses = (operation as { responses?: Record<string, { content?: object; description: string }> })
        .responses;
      if (responses === undefined) continue;
      responses['default'] = { description: 'A problem.', content: PROBLEM };
      for (const [status, response] of Object.entries(responses)) if (Number(status) >= 400) response.content = PROBLEM;
    }
  }
  return document;
}
