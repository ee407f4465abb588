import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SharedClasses } from './jvm';

describe('an archive of classes', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'jvm-spec-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const written = () => writeFileSync(path.join(dir, 'x.jsa.partial'), 'classes');

  it('is made by one process, and used by those that start once it is there', () => {
    const [first, second] = [new SharedClasses(dir, 'x'), new SharedClasses(dir, 'x')];
    expect([first.isMaking, second.isMaking, second.jvmArgs]).toEqual([true, false, []]);
    expect(first.jvmArgs).toContain(`-XX:ArchiveClassesAtExit=${path.join(dir, 'x.jsa.partial')}`);
    written();
    second.ended(true);
    expect(readdirSync(dir)).toEqual(['x.jsa.partial']);
    first.ended(true);
    expect(readdirSync(dir)).toEqual(['x.jsa']);
    expect(new SharedClasses(dir, 'x').jvmArgs).toContain(`-XX:SharedArchiveFile=${path.join(dir, 'x.jsa')}`);
  });

  it('is begun again where its process was killed, or left nothing', () => {
    const killed = new SharedClasses(dir, 'x');
    written();
    killed.ended(false);
    expect(readdirSync(dir)).toEqual([]);
    new SharedClasses(dir, 'x').ended(true);
    expect(readdirSync(dir)).toEqual([]);
    new SharedClasses(dir, 'x'); // whose process was killed, and who started it
    const longAgo = new Date(Date.now() - 3_600_000);
    utimesSync(path.join(dir, 'x.jsa.partial'), longAgo, longAgo);
    expect(new SharedClasses(dir, 'x').isMaking).toBe(true);
  });

  it('is not made where nothing can be written', () => {
    const classes = new SharedClasses(path.join(dir, 'not-there'), 'x');
    expect([classes.isMaking, classes.jvmArgs]).toEqual([false, []]);
  });
});
