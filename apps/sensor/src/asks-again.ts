import { type AskedAgain, RerunRequested } from '@music/events';
import { isOfRun, listOpenDeadLetters, replay } from '@music/messaging';
import { type Ask, CannotRerun, type Work, type WorkOutcome, rerun } from '@music/runs';
import { StageRuntime } from '@music/service';
import { Injectable } from '@nestjs/common';

/**
 * Carries out what was asked of runs that have ended, by somebody who may not write to the tables: `rerun` and `replay`
 * as `music-kpis` does them. Each ask once: a run tells what was done for which.
 */
@Injectable()
export class AsksAgain {
  constructor(private readonly runtime: StageRuntime) {}

  async carryOut({ event, log }: Work): Promise<WorkOutcome> {
    const { runs } = this.runtime.stores;
    const { runId, askId: id, requestedBy: by } = event.data as AskedAgain;
    if ((await runs.asks.find(runId, id)) !== undefined) return 'done';
    const at = new Date().toISOString();
    if (event.data instanceof RerunRequested) {
      const ask: Ask = { id, what: 'rerun', by, at, fromStage: event.data.fromStage };
      try {
        await rerun(runs, runId, event.data.fromStage, ask);
        log.info({ by, from: event.data.fromStage }, 'begun again');
      } catch (error) {
        if (!(error instanceof CannotRerun)) throw error;
        // Where another sensor was first, what it noted stays.
        await runs.asks.note(runId, { ...ask, refused: error.message });
        log.warn({ by, why: error.message }, 'not begun again');
      }
    } else {
      const replayed = await this.replay(runId);
      await runs.asks.note(runId, { id, what: 'replay', by, at, replayed });
      log.info({ by, replayed }, 'dead letters put back');
    }
    return 'done';
  }

  private async replay(runId: string): Promise<number> {
    const { kafka, runs } = this.runtime.stores;
    const letters = (await listOpenDeadLetters(kafka, runs)).filter(({ message }) => isOfRun(message.key, runId));
    await replay(kafka, runs, letters);
    return letters.length;
  }
}
