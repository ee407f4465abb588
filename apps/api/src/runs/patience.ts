/** How long a caller waits for Kafka: its client itself tries for minutes. */
const PATIENCE_MS = 10_000;

/** Kafka gave no answer in time. What was sent may arrive all the same. */
export class KafkaIsAway extends Error {
  override readonly name = 'KafkaIsAway';
}

export async function withinPatience<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new KafkaIsAway(`Kafka gave no answer within ${PATIENCE_MS / 1_000} s`)),
      PATIENCE_MS,
    );
  });
  answer.catch(() => undefined); // also where it fails once nobody waits any more
  try {
    return await Promise.race([answer, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}
