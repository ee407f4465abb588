const MS_PER_MINUTE = 60_000n;

/** Milliseconds as minutes with two decimals, half up, from the exact integer. */
export function minutes(ms: number): number {
  return hundredths(BigInt(ms) * 100n, MS_PER_MINUTE);
}

/** Minutes a listener with two decimals, half up, from the exact integers; 0 without listeners. */
export function minutesPerListener(totalMs: number, listeners: number): number {
  return listeners === 0 ? 0 : hundredths(BigInt(totalMs) * 100n, MS_PER_MINUTE * BigInt(listeners));
}

/** numerator ÷ denominator, rounded half up, ÷ 100. Neither may be negative. */
function hundredths(numerator: bigint, denominator: bigint): number {
  return Number((2n * numerator + denominator) / (2n * denominator)) / 100;
}
