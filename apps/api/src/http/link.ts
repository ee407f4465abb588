import type { Request, Response } from 'express';

/** Says where the next page is, in a `Link` (RFC 8288): the same question with a cursor. */
export function linkNext(response: Response, cursor: string): void {
  const { originalUrl } = response.req as Request;
  const [path = '', query = ''] = originalUrl.split('?');
  const params = new URLSearchParams(query);
  params.set('cursor', cursor);
  response.set('Link', `<${path}?${params}>; rel="next"`);
}
