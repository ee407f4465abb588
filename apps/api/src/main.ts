import { settingsOrExit } from '@music/service';
import { loadApiConfig } from './api.config';
import { startApi } from './start-api';

void startApi(settingsOrExit('api', () => loadApiConfig(process.env)));
