import { StoresConfig, type Stores, WrongSettings, loadSettings, openStores, serviceLogger } from '@music/service';
import { UsageError } from './usage';

/** Opens the stores that the environment names, for one command. Wrong settings are wrong usage. */
export async function withStores<T>(use: (stores: Stores, config: StoresConfig) => Promise<T>): Promise<T> {
  let stores: Stores | undefined;
  try {
    const config = loadSettings(StoresConfig, process.env);
    stores = openStores(config, 'music-kpis', serviceLogger('music-kpis', 'silent'));
    return await use(stores, config);
  } catch (error) {
    throw error instanceof WrongSettings ? new UsageError(error.message) : error;
  } finally {
    stores?.close();
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}
