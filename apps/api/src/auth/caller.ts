import type { Request } from 'express';
import type { ProblemError } from '../http/problem';

/** What a caller may: read all there is to read, or besides ask for runs. */
export const ROLES = ['reader', 'operator'] as const;
export type Role = (typeof ROLES)[number];

export interface Caller {
  readonly name: string;
  readonly role: Role;
}

/** Whether somebody of a role may do what another is needed for. */
export function suffices(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/** Tells who a request comes from by its `Authorization`; undefined where that is nobody known. */
export interface Authenticator {
  identify(authorization: string | undefined): Promise<Caller | undefined>;
}

/** A request of which it is known who asks. */
export interface ApiRequest extends Request {
  caller?: Caller;
  /** Why `caller` is not known, where more can be said than that no key was given. */
  refusal?: ProblemError;
}

export const bearerOf = (authorization: string | undefined): string | undefined =>
  /^Bearer +(\S{1,8192})$/i.exec(authorization ?? '')?.[1];
