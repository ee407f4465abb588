/** Images from docker/Dockerfile, which has the same list. */
const APPS = ['sensor', 'combiner', 'validator', 'glue-trigger', 'archiver', 'cli'];
/** Images with Dockerfiles of their own. */
export const OTHERS = { stack: 'docker/stack/Dockerfile', spark: 'docker/spark/Dockerfile' };
export const IMAGES = [...APPS, ...Object.keys(OTHERS)];
