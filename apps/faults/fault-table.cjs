const { readFileSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');
const Table = require('cli-table3');

/** Prints what the specs did to the pipeline, and what became of it. */
module.exports = class FaultTable {
  constructor() {
    this.file = process.env.FAULT_LOG ??= path.join(tmpdir(), `music-faults-${process.pid}.jsonl`);
    rmSync(this.file, { force: true });
  }

  onRunComplete(_, { numPassedTests, numFailedTests }) {
    let lines = [];
    try {
      lines = readFileSync(this.file, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    } catch {
      // nothing was injected
    }
    rmSync(this.file, { force: true });
    const table = new Table({ head: ['fault', 'where', 'times', 'outcome'], style: { head: [], border: [] } });
    for (const { fault, where, times, outcome } of lines) table.push([fault, where, times, outcome]);
    const times = lines.reduce((sum, line) => sum + line.times, 0);
    process.stdout.write(
      `\n${table.toString()}\n${times} faults injected\n${numPassedTests} passed, ${numFailedTests} failed\n`,
    );
  }
};
