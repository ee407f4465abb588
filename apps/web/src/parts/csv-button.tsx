import { useState } from 'react';
import { saveCsv } from '../api/client';

/** Saves what a table shows. */
export function CsvButton({ path, name }: { readonly path: string; readonly name: string }) {
  const [problem, setProblem] = useState<string>();
  return (
    <>
      <button
        type="button"
        className="small"
        aria-label={`CSV of ${name}`}
        onClick={() => {
          setProblem(undefined);
          saveCsv(path, name).catch((error: Error) => setProblem(error.message));
        }}
      >
        CSV
      </button>
      {problem === undefined ? null : <span role="alert"> {problem}</span>}
    </>
  );
}
