// Asks the API again and again, a connection error or a 503 a few times, and prints what came of it. Runs in a pod.
const [, , url, seconds] = process.argv;
const WORKERS = 8;
const TRIES = 10;
const until = Date.now() + Number(seconds) * 1_000;
const seen = { answered: 0, retried: 0, lost: 0, wrong: 0 };

async function ask() {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      const rows = await answer.json();
      if (answer.status !== 503) return answer.status === 200 && rows.length === 5 ? 'answered' : 'wrong';
    } catch {
      // tried again
    }
    if (attempt === TRIES) return 'lost';
    seen.retried += 1;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function work() {
  while (Date.now() < until) {
    seen[await ask()] += 1;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Promise.all(Array.from({ length: WORKERS }, work)).then(() => console.log(JSON.stringify(seen)));
