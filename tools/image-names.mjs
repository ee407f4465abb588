// node tools/image-names.mjs: prints the apps that docker/Dockerfile makes images of.
import { pathToFileURL } from 'node:url';

export const STAGES = ['sensor', 'combiner', 'validator', 'glue-trigger', 'archiver'];
const APPS = [...STAGES, 'api', 'cli'];
/** Images with Dockerfiles of their own. */
export const OTHERS = { stack: 'docker/stack/Dockerfile', spark: 'docker/spark/Dockerfile' };
export const IMAGES = [...APPS, ...Object.keys(OTHERS)];

if (import.meta.url === pathToFileURL(process.argv[1]).href) process.stdout.write(`${APPS.join('\n')}\n`);
