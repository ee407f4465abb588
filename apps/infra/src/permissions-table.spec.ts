import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { workspaceRoot } from '@music/local-stack';
import { PRINCIPALS } from './permissions';
import { permissionsRow } from './permissions-table';

const PAGE = path.join(workspaceRoot(), 'docs', 'operations.md');
const ROWS = /(?<=\| who \| may \|\n\| --- \| --- \|\n)(\|.*\n)+/;

it('docs/operations.md says what each role may do: UPDATE_PERMISSIONS=true writes it', () => {
  const page = readFileSync(PAGE, 'utf8');
  const rows = PRINCIPALS.map((principal) => `${permissionsRow(principal)}\n`).join('');
  if (process.env['UPDATE_PERMISSIONS'] === 'true')
    writeFileSync(
      PAGE,
      page.replace(ROWS, () => rows),
    );
  else expect(ROWS.exec(page)?.[0]).toBe(rows);
});
