import { LocalStack } from './index';

it('starts its servers, starts one again at its port, and leaves no process behind', async () => {
  const stack = await LocalStack.start();
  const pids = (['kafka', 'dynamodb', 's3'] as const).map((server) => stack.child(server).pid);
  await stack.child('dynamodb').stop();
  await stack.startServer('dynamodb');
  await stack.stop();
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
});
