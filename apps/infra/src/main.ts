import { CloudFormationClient, DescribeStacksCommand } from '@aws-sdk/client-cloudformation';
import { Validations } from 'aws-cdk-lib';
import { AwsSolutionsChecks } from 'cdk-nag';
import { Command } from 'commander';
import { settingsEnv } from './settings-env';
import { STACK_NAME, musicApp } from './music-app';

const program = new Command('music-infra').description('What the pipeline needs of an AWS account');
program
  .command('synth')
  .description('write the CloudFormation template, and check it; what `cdk` calls')
  .option('--out <dir>', 'folder to write to (default: as `cdk` says, or cdk.out)')
  .option(
    '-c, --context <name=value>',
    'an option of the stack, as `cdk` takes them; docs/aws.md has them',
    (text: string, all: Record<string, string>) => ({
      ...all,
      [text.split('=', 1)[0] ?? '']: text.replace(/^[^=]*=?/, ''),
    }),
    {},
  )
  .action(({ out, context }: { out?: string; context: Record<string, string> }) => {
    const app = musicApp({ outdir: out ?? process.env['CDK_OUTDIR'] ?? 'cdk.out', context });
    Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
    app.synth();
  });
program
  .command('settings')
  .description('print the settings of the services, as the stack that was made has them: settings.env')
  .option('--stack <name>', 'its name', STACK_NAME)
  .action(async ({ stack }: { stack: string }) => {
    const client = new CloudFormationClient({});
    const { Stacks = [] } = await client.send(new DescribeStacksCommand({ StackName: stack }));
    process.stdout.write(settingsEnv(Stacks[0]?.Outputs ?? []));
  });

program.parseAsync().catch((error: Error) => {
  process.stderr.write(`music-infra: ${error.message}\n`);
  process.exitCode = 1;
});
