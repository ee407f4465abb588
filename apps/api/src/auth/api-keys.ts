import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { fromPlain } from '@music/events';
import { WrongSettings } from '@music/service';
import { IsIn, IsString, Matches, MaxLength } from 'class-validator';
import { type Authenticator, type Caller, ROLES, type Role, bearerOf } from './caller';

/** A key as the file has it: its hash only. */
class ApiKey {
  @IsString() @Matches(/^[\w.@ -]+$/) @MaxLength(100) readonly name!: string;
  @IsIn(ROLES) readonly role!: Role;
  @Matches(/^[0-9a-f]{64}$/) readonly sha256!: string;
}

/** A mounted secret is changed without a restart. */
const LOOK_MS = 10_000;

/** Keys of a file. What it holds is read again when it changes; where it is broken then, the last good ones stay. */
export class ApiKeys implements Authenticator {
  private keys: readonly { readonly hash: Buffer; readonly caller: Caller }[];
  private readAt = Date.now();
  private version: string;

  /** Throws WrongSettings where the file cannot be read. */
  constructor(
    private readonly file: string,
    private readonly onProblem: (problem: string) => void = () => undefined,
  ) {
    try {
      this.version = this.versionNow();
      this.keys = read(file);
    } catch (error) {
      throw new WrongSettings([`API_KEYS_FILE=${file}: ${(error as Error).message}`]);
    }
  }

  async identify(authorization: string | undefined): Promise<Caller | undefined> {
    this.refresh();
    const key = bearerOf(authorization);
    if (key === undefined) return undefined;
    const hash = createHash('sha256').update(key).digest();
    let found: Caller | undefined;
    // All of them, each in constant time: how long it takes tells nothing.
    for (const each of this.keys) if (timingSafeEqual(each.hash, hash)) found = each.caller;
    return found;
  }

  private refresh(): void {
    if (Date.now() - this.readAt < LOOK_MS) return;
    this.readAt = Date.now();
    try {
      const version = this.versionNow();
      if (version === this.version) return;
      this.keys = read(this.file);
      this.version = version;
    } catch (error) {
      this.onProblem(`${this.file}: ${(error as Error).message}; the keys read before stay valid`);
    }
  }

  private versionNow(): string {
    const { mtimeMs, size, ino } = statSync(this.file);
    return `${mtimeMs} ${size} ${ino}`;
  }
}

function read(file: string): { hash: Buffer; caller: Caller }[] {
  const json = JSON.parse(readFileSync(file, 'utf8')) as unknown;
  if (!Array.isArray(json)) throw new Error('must be a list of keys: [{"name", "role", "sha256"}]');
  return json.map((each) => {
    const { name, role, sha256 } = fromPlain(ApiKey, each);
    return { hash: Buffer.from(sha256, 'hex'), caller: { name, role } };
  });
}
