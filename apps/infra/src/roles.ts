import { Aws, Stack, Validations } from 'aws-cdk-lib';
import { CfnPodIdentityAssociation } from 'aws-cdk-lib/aws-eks';
import {
  FederatedPrincipal,
  type IPrincipal,
  PolicyDocument,
  PolicyStatement,
  Role,
  ServicePrincipal,
  SessionTagsPrincipal,
} from 'aws-cdk-lib/aws-iam';
import type { Construct } from 'constructs';
import { kafkaStatements } from './kafka-policy';
import type { Options } from './options';
import { PERMISSIONS, PRINCIPALS, type Permission, type Principal, type Target } from './permissions';

/** The ARN of what a permission is about. */
export type ArnOf = (target: Target) => string;

const isJob = (principal: Principal): boolean => principal === 'glue-job';

/** A role each, with what `PERMISSIONS` says and nothing else. */
export function makeRoles(scope: Construct, options: Options, arnOf: ArnOf): Readonly<Record<Principal, Role>> {
  const roles = PRINCIPALS.map((principal) => {
    const role = new Role(scope, `${idOf(principal)}Role`, {
      roleName: `${options.prefix}-${principal.replace(/^music-/, '')}`,
      description: `Music streaming pipeline: ${principal}`,
      assumedBy: isJob(principal) ? new ServicePrincipal('glue.amazonaws.com') : podsOf(principal, options),
      inlinePolicies: {
        work: new PolicyDocument({
          statements: [
            ...PERMISSIONS[principal].map((permission) => statementOf(permission, arnOf)),
            ...keyStatements(principal, options),
            ...kafkaStatements(principal, options),
          ],
        }),
      },
    });
    for (const resource of wildcardsOf(scope, principal, options, arnOf))
      Validations.of(role).acknowledge({
        id: `AwsSolutions-IAM5[Resource::${resource}]`,
        reason: 'All objects below a prefix, or streams of one group of logs: their names are made as runs go on',
      });
    if (options.clusterName !== undefined && !isJob(principal))
      new CfnPodIdentityAssociation(scope, `${idOf(principal)}Pods`, {
        clusterName: options.clusterName,
        namespace: options.namespace,
        serviceAccount: principal,
        roleArn: role.roleArn,
      });
    return [principal, role] as const;
  });
  return Object.fromEntries(roles) as Record<Principal, Role>;
}

/** `glue-job` → `GlueJob`. */
const idOf = (principal: Principal): string =>
  principal.replaceAll(/(^|-)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());

/** Pods of this service account in this namespace: by IRSA where there is an issuer, otherwise by Pod Identity. */
function podsOf(serviceAccount: string, { namespace, oidcIssuer }: Options): IPrincipal {
  if (oidcIssuer !== undefined)
    return new FederatedPrincipal(
      `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:oidc-provider/${oidcIssuer}`,
      {
        StringEquals: {
          [`${oidcIssuer}:aud`]: 'sts.amazonaws.com',
          [`${oidcIssuer}:sub`]: `system:serviceaccount:${namespace}:${serviceAccount}`,
        },
      },
      'sts:AssumeRoleWithWebIdentity',
    );
  return new SessionTagsPrincipal(
    new ServicePrincipal('pods.eks.amazonaws.com', {
      conditions: {
        StringEquals: {
          'aws:RequestTag/kubernetes-namespace': namespace,
          'aws:RequestTag/kubernetes-service-account': serviceAccount,
        },
      },
    }),
  );
}

function statementOf({ actions, on }: Permission, arnOf: ArnOf): PolicyStatement {
  return new PolicyStatement({ actions: [...actions], resources: on.map(arnOf) });
}

/** Buckets with a key of the team's own are read and written with it. */
function keyStatements(principal: Principal, { kmsKeyArn }: Options): PolicyStatement[] {
  if (kmsKeyArn === undefined) return [];
  const allowed = new Set(PERMISSIONS[principal].flatMap(({ actions }) => actions));
  const actions = [
    ...(allowed.has('s3:GetObject') ? ['kms:Decrypt'] : []),
    ...(allowed.has('s3:PutObject') ? ['kms:GenerateDataKey'] : []),
  ];
  return actions.length === 0 ? [] : [new PolicyStatement({ actions, resources: [kmsKeyArn] })];
}

/** Resources of a role that stand for many, as cdk-nag calls them: it wants a reason for each. */
function wildcardsOf(scope: Construct, principal: Principal, options: Options, arnOf: ArnOf): string[] {
  const arns = [
    ...PERMISSIONS[principal].flatMap(({ on }) => on.map(arnOf)),
    ...kafkaStatements(principal, options).flatMap(({ resources }) => resources),
  ];
  const named = (arn: string) => {
    const parts = Stack.of(scope).resolve(arn) as string | { 'Fn::Join': [string, (string | { Ref: string })[]] };
    return typeof parts === 'string'
      ? parts
      : parts['Fn::Join'][1].map((part) => (typeof part === 'string' ? part : `<${part.Ref}>`)).join('');
  };
  return [...new Set(arns.filter((arn) => arn.endsWith('*')).map(named))];
}
