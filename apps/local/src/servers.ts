// An S3 and a DynamoDB that several share, until the standard input ends. Prints what makes LocalStack use them.
import { LocalStack, SHARED_SERVERS } from '@music/local-stack';

async function main(): Promise<void> {
  const stack = await LocalStack.start(SHARED_SERVERS, { muchData: true });
  process.stdout.write(`${JSON.stringify(stack.toShare)}\n`);
  process.stdin.resume();
  process.stdin.once('end', () => void stack.stop());
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
