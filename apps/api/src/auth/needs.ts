import { type CanActivate, type ExecutionContext, Injectable, SetMetadata, applyDecorators } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { ApiBearerAuth, ApiExtension, ApiResponse } from '@nestjs/swagger';
import { ProblemError } from '../http/problem';
import { type ApiRequest, type Role, suffices } from './caller';

const NEEDS = 'needs';
/** The name of the security scheme in the OpenAPI document. */
export const BEARER = 'bearer';

/**
 * The role that a route needs: for the guard and for the OpenAPI document alike. A route that says nothing is nobody's.
 */
export function Needs(role: Role): ClassDecorator & MethodDecorator {
  return applyDecorators(
    SetMetadata(NEEDS, role),
    ApiBearerAuth(BEARER),
    ApiExtension('x-role', role),
    ApiResponse({ status: 401, description: 'No key or token, or none that is known.' }),
    ApiResponse({ status: 403, description: `The caller is no ${role}.` }),
  );
}

/** Lets in who has the role that the route needs. */
@Injectable()
export class RoleGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const needed = this.reflector.getAllAndOverride<Role | undefined>(NEEDS, [
      context.getHandler(),
      context.getClass(),
    ]);
    const { caller, refusal } = context.switchToHttp().getRequest<ApiRequest>();
    if (refusal !== undefined) throw refusal;
    if (caller === undefined)
      throw new ProblemError(401, 'unauthorized', 'give a key or token: `Authorization: Bearer …`', {
        headers: { 'WWW-Authenticate': 'Bearer realm="music"' },
      });
    if (needed === undefined || !suffices(caller.role, needed))
      throw new ProblemError(
        403,
        'forbidden',
        `${caller.name} is a ${caller.role}; this needs the role ${needed ?? 'of nobody'}`,
      );
    return true;
  }
}
