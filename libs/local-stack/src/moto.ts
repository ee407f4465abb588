import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Child } from './child-process';
import { freePort } from './local-stack';
import { workspaceRoot } from './workspace';

const HOST = '127.0.0.1';

/** Many services of AWS as one process on loopback, with all they hold in memory. Nobody here wrote it. */
export class Moto {
  private constructor(
    readonly url: string,
    private readonly child: Child,
  ) {}

  /** Throws where it was not fetched. `dir` is for its log, and may not be there yet. */
  static async start(dir: string): Promise<Moto> {
    const program = path.join(workspaceRoot(), '.stack', 'moto-venv', 'bin', 'moto_server');
    if (!existsSync(program)) throw new Error(`${program} is not there: run \`npm run setup moto\``);
    await mkdir(dir, { recursive: true });
    const port = await freePort();
    const child = Child.spawn('moto', program, ['-H', HOST, '-p', String(port)], {
      env: process.env,
      logFile: path.join(dir, 'moto.log'),
      cwd: dir,
    });
    const url = `http://${HOST}:${port}`;
    await child.until(async () => (await fetch(`${url}/moto-api/data.json`)).ok);
    return new Moto(url, child);
  }

  /** What the AWS SDK and the services need to find it. */
  get env(): Record<string, string> {
    const services = ['S3', 'DYNAMODB', 'SQS', 'CLOUDFORMATION', 'GLUE'].map((name) => [
      `AWS_ENDPOINT_URL_${name}`,
      this.url,
    ]);
    return {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'local',
      AWS_SECRET_ACCESS_KEY: 'local',
      S3_FORCE_PATH_STYLE: 'true',
      ...Object.fromEntries(services),
    };
  }

  async stop(): Promise<void> {
    await this.child.stop(5_000);
  }
}
