// npm test: sets up what is missing, then runs all tests; one project at a time, since many start servers.
import { run, setUp } from './set-up.mjs';

setUp({ queue: true });
run('npx', ['nx', 'run-many', '-t', 'test', '--parallel=2', '--output-style=static', ...process.argv.slice(2)]);
