import type { NextFunction, Response } from 'express';
import type { ApiConfig } from '../api.config';
import { ProblemError } from '../http/problem';
import { ApiKeys } from './api-keys';
import type { ApiRequest, Authenticator } from './caller';
import { OidcTokens } from './oidc';

/** Throws WrongSettings where the settings name what cannot be read. */
export function authenticatorOf(config: ApiConfig, onProblem: (problem: string) => void): Authenticator {
  switch (config.apiAuth) {
    case 'keys':
      return new ApiKeys(config.apiKeysFile ?? '', onProblem);
    case 'oidc':
      return new OidcTokens(config);
    default:
      return { identify: async () => ({ name: 'anonymous', role: config.apiAnonymousRole }) };
  }
}

/** Finds out who asks, before anything is counted or answered; whether they may is for the guard of the route. */
export function identify(authenticator: Authenticator) {
  return (request: ApiRequest, _: Response, next: NextFunction): void => {
    authenticator.identify(request.headers.authorization).then(
      (caller) => {
        request.caller = caller;
        next();
      },
      (error: unknown) => {
        // Told by the guard, after the limit has counted the try.
        if (error instanceof ProblemError && error.getStatus() < 500) {
          request.refusal = error;
          next();
        } else next(error);
      },
    );
  };
}
