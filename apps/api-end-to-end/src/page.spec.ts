import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PATIENCE_MS, freePort, until, workspaceRoot } from '@music/local-stack';
import { LocalPipeline, musicKpis } from '@music/local-pipeline';
import { requestRun, waitForRun } from '@music/reports';
import chromium from '@sparticuz/chromium';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, type Page, chromium as playwright } from 'playwright-core';

const SAMPLES = path.join(workspaceRoot(), 'samples');
const SHOTS = process.env['SCREENSHOTS_TO'] ?? path.join(workspaceRoot(), '.screenshots');
const DAY = '2026-03-02';
const HOSTILE = `<img src=x onerror="document.title='owned'">`;
const ENV = { RETRY_DELAYS_SECONDS: '0.1', WORK_ATTEMPTS: '1', API_RATE_LIMIT: '100000' };
const DESKTOP = { viewport: { width: 1_280, height: 900 } };
const PHONE = { viewport: { width: 390, height: 800 } };

/** The page's routes, and what each has once it is there. */
const ROUTES = (run: string) =>
  [
    ['overview', '/', 'The last days'],
    ['days', `/days?days=90&to=2026-03-05`, '2 days of 90 published'],
    ['day', `/days/${DAY}`, 'Top 5 genres'],
    ['genres', `/genres?days=7&to=${DAY}`, 'Rank over time'],
    ['genre', `/genres/${encodeURIComponent('jazz & blues')}?days=7&to=${DAY}`, 'Minutes'],
    ['runs', '/runs', 'rows kept'],
    ['run', `/runs/${run}`, 'Files that are well'],
    ['not-there', '/somewhere', 'There is no such page'],
    ['docs', '/docs/', '/v1/days'],
  ] as const;

describe('the page', () => {
  let pipeline: LocalPipeline;
  let browser: Browser;
  let runId: string;
  const faults: string[] = [];
  /** While the API is stopped, requests that are under way may be cut. */
  let isApiGone = false;

  beforeAll(async () => {
    mkdirSync(SHOTS, { recursive: true });
    pipeline = await LocalPipeline.start({
      api: true,
      // A port that it can have again once it was gone.
      env: { ...ENV, API_PORT: String(await freePort()) },
    });
    await pipeline.load(SAMPLES);
    runId = await requestRun(pipeline.stores, { logicalDate: '2026-03-03', immediately: true });
    await waitForRun(pipeline.stores, runId, { timeoutMs: PATIENCE_MS });
    browser = await playwright.launch({
      executablePath: await chromium.executablePath(),
      // In one process the browser ends with its first page.
      args: chromium.args.filter((each) => each !== '--single-process'),
      headless: true,
    });
  });
  afterAll(async () => {
    await browser?.close();
    await pipeline?.stop();
  });

  const open = async (route: string, has: string, options: BrowserContextOptions = DESKTOP): Promise<Page> => {
    const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => faults.push(`${route}: ${error.message}`));
    page.on('console', (message) => {
      if (
        message.type() === 'error' &&
        !/status of (401|404|409|503)|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE/.test(message.text()) &&
        !(isApiGone && message.text().includes('ERR_CONNECTION_RESET'))
      )
        faults.push(`${route}: ${message.text()}`);
    });
    await page.goto(`${pipeline.apiUrl()}${route}`);
    await page.getByText(has, { exact: false }).first().waitFor();
    return page;
  };
  const close = (page: Page) => page.context().close();
  const shoot = async (page: Page, name: string) => {
    await page.waitForTimeout(700); // charts are drawn after the text is there
    await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true, animations: 'disabled' });
  };

  it('shows every route, by its address alone, without an outside resource', async () => {
    for (const [name, route, has] of ROUTES(runId)) {
      const page = await open(route, has);
      await shoot(page, name);
      const origins: string[] = await page.evaluate(() => [
        ...new Set(performance.getEntriesByType('resource').map(({ name: url }) => new URL(url).origin)),
      ]);
      expect(origins).toEqual([pipeline.apiUrl()]);
      await page.reload();
      await page.getByText(has, { exact: false }).first().waitFor();
      await close(page);
    }
    expect(faults).toEqual([]);
  });

  it.each([
    ['light', DESKTOP],
    ['dark', { ...DESKTOP, colorScheme: 'dark' as const }],
    ['a phone', { ...PHONE, colorScheme: 'light' as const }],
  ])('can be used by everybody: no serious finding of axe (%s)', async (name, options) => {
    const routes = ROUTES(runId).filter(
      ([of]) => of !== 'docs' && (name !== 'dark' || ['days', 'day', 'run'].includes(of)),
    );
    for (const [route, address, has] of routes) {
      const page = await open(address, has, options);
      await page.waitForTimeout(500);
      await page.evaluate(axe.source);
      const serious = await page.evaluate(async () => {
        const { violations } = await (window as unknown as { axe: typeof axe }).axe.run();
        return violations
          .filter(({ impact }) => impact === 'serious' || impact === 'critical')
          .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
      });
      expect([route, serious]).toEqual([route, []]);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect([route, wide <= 0]).toEqual([route, true]);
      if (name !== 'light') await shoot(page, `${route}-${name.replace(' ', '-')}`);
      await close(page);
    }
  });

  it('loads at most 250 KB of script, compressed', async () => {
    const html = await (await fetch(`${pipeline.apiUrl()}/`)).text();
    const scripts = [...html.matchAll(/<script[^>]+src="([^"]+)"/g)].map(([, src]) => src);
    expect(scripts).toHaveLength(1);
    const sizes = await Promise.all(
      scripts.map(async (src) => {
        const { request } = await import('node:http');
        return new Promise<number>((resolve) => {
          request(`${pipeline.apiUrl()}${src}`, { headers: { 'accept-encoding': 'gzip' } }, (answer) => {
            let bytes = 0;
            expect(answer.headers['content-encoding']).toBe('gzip');
            expect(answer.headers['cache-control']).toContain('immutable');
            answer.on('data', (chunk: Buffer) => (bytes += chunk.length)).on('end', () => resolve(bytes));
          }).end();
        });
      }),
    );
    process.stdout.write(`script, compressed: ${(sizes[0] ?? 0) / 1_000} KB\n`);
    expect(sizes[0]).toBeLessThan(250_000);
  });

  it('shows the numbers, sorts and finds them, and says where they come from', async () => {
    const page = await open(`/days/${DAY}`, 'All genres');
    const genres = page.getByRole('region', { name: 'all genres' });
    await genres.getByText('chanson française').waitFor();
    const first = () => genres.locator('tbody tr').first().innerText();
    expect(await first()).toMatch(/^bossa nova\s+141/);
    await genres.getByRole('button', { name: /^listens/ }).click();
    expect(await first()).toMatch(/^Unknown\s+3/);
    await page.getByLabel('Search in all genres').fill('dub');
    expect(await genres.locator('tbody tr').count()).toBe(1);
    await genres.getByRole('button', { name: 'explain dub' }).click();
    const lineage = page.getByRole('region', { name: 'Where the numbers of dub come from' });
    await lineage.getByText('streams/2026-03-02.csv', { exact: true }).waitFor();
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: `CSV of genres ${DAY}` }).click();
    const file = await (await download).path();
    expect(readFileSync(file, 'utf8').split('\r\n')[0]).toMatch(/^date,genre,listen_count/);
    await close(page);
  });

  it('shows times in the zone that is chosen, everywhere and after a reload', async () => {
    const page = await open(`/runs/${runId}`, 'asked for');
    const shown = () => page.locator('time').first().innerText();
    expect(await shown()).toMatch(/ UTC$/);
    await page.getByLabel('Times in').selectOption('Europe/Berlin');
    expect(await shown()).toMatch(/ (CET|CEST|GMT\+[12])$/);
    await page.goto(`${pipeline.apiUrl()}/runs`);
    await page.locator('time').first().waitFor();
    expect(await shown()).toMatch(/ (CET|CEST|GMT\+[12])$/);
    await close(page);
  });

  it('shows what a hostile file says as text', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'hostile-'));
    cpSync(SAMPLES, folder, { recursive: true });
    const songs = readFileSync(path.join(SAMPLES, 'songs/songs.csv'), 'utf8').trimEnd();
    writeFileSync(
      path.join(folder, 'songs/songs.csv'),
      `${songs}\n999,trkevil,=1+1,"${HOSTILE.replaceAll('"', '""')}",1,1000,dub\n`,
    );
    const listens = Array.from(
      { length: 300 },
      (_, i) => `${i},trkevil,${DAY} 00:00:${String(i % 60).padStart(2, '0')}`,
    );
    writeFileSync(path.join(folder, 'streams/evil.csv'), `user_id,track_id,listen_time\n${listens.join('\n')}\n`);
    writeFileSync(path.join(folder, `streams/${HOSTILE.replaceAll('/', '')}.csv`), 'a,b\n1,2\n');
    await pipeline.load(folder);
    const id = await requestRun(pipeline.stores, { logicalDate: DAY, immediately: true });
    await waitForRun(pipeline.stores, id, { timeoutMs: PATIENCE_MS });
    const day = await open(`/days/${DAY}`, HOSTILE);
    expect(await day.title()).toContain(DAY);
    await close(day);
    const run = await open(`/runs/${id}`, 'To do:');
    await run.getByText(HOSTILE.slice(0, 12), { exact: false }).first().waitFor();
    expect(await run.title()).toContain(id);
    expect(await run.locator('img[src=x]').count()).toBe(0);
    await close(run);
  });

  it('shows a run live, from its first stage to its last', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'long-'));
    mkdirSync(path.join(folder, 'streams'));
    const row = (i: number) =>
      `u${i % 5_000},trk00${String(i % 60).padStart(2, '0')},2026-03-04 ${String(i % 24).padStart(2, '0')}:${String(Math.floor(i / 24) % 60).padStart(2, '0')}:${String(i % 59).padStart(2, '0')}.${i % 1000}`;
    writeFileSync(
      path.join(folder, 'streams/long.csv'),
      `user_id,track_id,listen_time\n${Array.from({ length: 1_500_000 }, (_, i) => row(i)).join('\n')}\n`,
    );
    const overview = await open('/', 'Nothing is running.');
    await pipeline.load(folder);
    await overview.goto(`${pipeline.apiUrl()}/runs`);
    const [sensor] = pipeline.children('sensor');
    sensor?.kill('SIGSTOP');
    await overview.getByRole('button', { name: 'Ask for a run …' }).click();
    await overview.getByRole('dialog').getByRole('button', { name: 'Ask for it' }).click();
    await overview.waitForURL(/\/runs\/manual__/);
    await overview.getByText('The sensor has not taken it up yet').waitFor();
    sensor?.kill('SIGCONT');
    const stages = overview.getByRole('list', { name: 'Stages' });
    await stages.getByText('not begun').first().waitFor();
    const seen = new Set<string>();
    await until(
      'the run has completed',
      async () => {
        const text = await overview.locator('#main').innerText();
        for (const what of ['so far', ' %', 'sensed', 'not begun']) if (text.includes(what)) seen.add(what);
        return /✓\s*completed/.test(text);
      },
      PATIENCE_MS,
      100,
    );
    expect([...seen]).toEqual(expect.arrayContaining(['so far', 'sensed', 'not begun']));
    expect(await stages.getByText('not begun').count()).toBe(0);
    await overview.getByRole('link', { name: '2026-03-04' }).first().waitFor();
    await close(overview);
  });

  it('asks for a backfill by mouse, with a preview first', async () => {
    const page = await open(`/days?days=30&to=${DAY}`, 'published');
    await page.locator('[data-date="2026-03-01"]').click();
    await page.locator(`[data-date="${DAY}"]`).click();
    expect(page.url()).toContain(`first=2026-03-01&last=${DAY}`);
    await page.getByRole('button', { name: 'Compute them again …' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Compute 2 days again?').waitFor();
    expect(await dialog.innerText()).toContain('listens are served for them now');
    await shoot(page, 'backfill');
    await dialog.getByRole('button', { name: 'Compute again' }).click();
    await page.waitForURL(/\/runs\/backfill__2026-03-01__/);
    await page.getByText('completed', { exact: false }).first().waitFor();
    await close(page);
  });

  it('asks for a backfill by keyboard', async () => {
    const page = await open(`/days?days=30&to=${DAY}`, 'published');
    await page.locator(`[data-date="${DAY}"]`).focus();
    await page.keyboard.press('ArrowUp'); // a Sunday is in the column before: there is nothing above Monday but that
    await page.keyboard.press('Enter');
    expect(page.url()).toContain('first=2026-03-01');
    const button = page.getByRole('button', { name: 'Compute it again …' });
    await button.waitFor();
    for (let i = 0; i < 12 && !(await button.evaluate((element) => element === document.activeElement)); i += 1)
      await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/runs\/backfill__2026-03-01__/);
    await page.getByText('completed', { exact: false }).first().waitFor();
    await close(page);
  });

  it('puts a run right that failed: replay, and rerun', async () => {
    const fail = async (name: string) => {
      await pipeline.put(`streams/${name}.csv`, path.join(SAMPLES, 'streams/2026-03-01.csv'));
      await pipeline.replaceService('glue-trigger', { KPI_TABLE: 'not-there' });
      const id = await requestRun(pipeline.stores, { logicalDate: '2026-03-06', immediately: true });
      await waitForRun(pipeline.stores, id, { timeoutMs: PATIENCE_MS });
      await pipeline.replaceService('glue-trigger');
      return id;
    };
    const replayed = await fail('for-replay');
    const page = await open(`/runs/${replayed}`, 'Replay 1 dead letter');
    await shoot(page, 'run-failed');
    await page.getByRole('button', { name: 'Replay 1 dead letter …' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Replay' }).click();
    await page.getByText('1 dead letter put back').waitFor();
    await page.locator('.facts').getByText('completed').waitFor();
    await close(page);
    const rerun = await fail('for-rerun');
    const other = await open(`/runs/${rerun}`, 'Begin again from');
    await other.getByLabel('Begin again from').selectOption('validator');
    await other.getByRole('button', { name: 'Rerun …' }).focus();
    await other.keyboard.press('Enter');
    await other.getByRole('dialog').getByText('Begin again from the validator?').waitFor();
    await other.keyboard.press('Tab');
    await other.keyboard.press('Enter');
    await other.locator('.facts').getByText('completed').waitFor();
    await other.getByText('rerun from validator').waitFor();
    await close(other);
  });

  it('keeps its filters in the address', async () => {
    const page = await open('/runs', 'rows kept');
    await page.getByLabel('kind').selectOption('backfill');
    await page.waitForURL(/kind=backfill/);
    await page.reload();
    await page.locator('tbody tr').first().waitFor();
    for (const kind of await page.locator('tbody tr td:nth-child(2)').allInnerTexts()) expect(kind).toBe('backfill');
    await page.getByLabel('state').selectOption('frozen');
    await page.getByText('There is no such run.').waitFor();
    await close(page);
  });

  it('says that the API is gone, and goes on when it is back', async () => {
    const page = await open('/', 'The last days');
    const [child] = pipeline.children('api');
    isApiGone = true;
    await child?.stop();
    await page.getByText('The connection is lost').waitFor();
    await page.getByRole('link', { name: 'Runs' }).click();
    await page.getByText('The API does not answer').first().waitFor();
    await shoot(page, 'api-gone');
    await pipeline.startService('api');
    await page.getByText('The connection is lost').waitFor({ state: 'hidden' });
    await page.getByText('rows kept').waitFor();
    isApiGone = false;
    await close(page);
  });

  it('asks for a key where one is needed, and may not ask for runs with a reader’s', async () => {
    const { key, entry } = JSON.parse((await musicKpis(pipeline, 'api-key', '--name', 'looker', '--json')).out);
    const file = path.join(pipeline.dir, 'page-keys.json');
    writeFileSync(file, JSON.stringify([entry]));
    const child = await pipeline.startService('api', { API_AUTH: 'keys', API_KEYS_FILE: file, API_PORT: '0' });
    const context = await browser.newContext({ locale: 'en-GB', ...DESKTOP });
    const page = await context.newPage();
    await page.goto(`${pipeline.apiUrl(child)}/runs`);
    await page.getByLabel('Key or token').fill('a-wrong-key-indeed');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('give a key or token').waitFor();
    await shoot(page, 'sign-in');
    await page.getByLabel('Key or token').fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('looker, reader').waitFor();
    await page.getByText('rows kept').waitFor();
    expect(await page.getByRole('button', { name: 'Ask for a run …' }).count()).toBe(0);
    await context.close();
    await child.stop();
  });

  it('shows what there is when there is nothing yet', async () => {
    const page = await open('/days?days=7&to=2020-01-07', '0 days of 7 published');
    await page.getByText('The newest day that was published is').waitFor();
    await shoot(page, 'days-empty');
    await page.goto(`${pipeline.apiUrl()}/days/2020-01-01`);
    await page.getByText('no KPIs of 2020-01-01 have been published').waitFor();
    await page.goto(`${pipeline.apiUrl()}/runs/manual__00000000000000000000000000`);
    await page.getByText('there is no run').waitFor();
    await close(page);
  });

  it('had no fault in all of this', () => {
    expect(faults).toEqual([]);
  });
});
