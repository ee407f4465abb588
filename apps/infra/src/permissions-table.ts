import { PERMISSIONS, type Permission, type Principal, type Target } from './permissions';
import { TABLE_NAMES } from './tables';

/** One row of the table in docs/operations.md: what a role may do. B stands for a bucket's ARN. */
export function permissionsRow(principal: Principal): string {
  const rules = PERMISSIONS[principal].map(
    ({ actions, on, why }) => `${actionsText(actions)} on ${onText(on)}${why === undefined ? '' : ` (${why})`}`,
  );
  return `| \`${principal}\` | ${rules.join('; ')} |`;
}

/** The service once, before the first of its actions. */
function actionsText(actions: Permission['actions']): string {
  return actions
    .map((action, i) => {
      const [service = '', name = ''] = action.split(':');
      return `\`${actions[i - 1]?.startsWith(`${service}:`) ? name : action}\``;
    })
    .join(', ');
}

function onText(targets: Permission['on']): string {
  return targets.map(targetText).join(', ');
}

function targetText(target: Target): string {
  switch (target.kind) {
    case 'bucket':
      return `B-${target.bucket}`;
    case 'objects':
      return `B-${target.bucket}/\`${target.below}*\``;
    case 'table':
      return `\`${TABLE_NAMES[target.table]}\``;
    case 'index':
      return `the index of \`${TABLE_NAMES[target.table]}\``;
    case 'queue':
      return 'the queue of arrivals';
    case 'glue job':
      return 'the job';
    case 'glue logs':
      return 'its group of logs';
  }
}
