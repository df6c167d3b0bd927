import { DBOS } from '@dbos-inc/dbos-sdk';
import './fulfil';
import { seed } from './seed';
import { QUEUE, settings } from './settings';

async function launch(executorID: string): Promise<void> {
  DBOS.setConfig({
    name: 'orders',
    systemDatabaseUrl: settings.databaseUrl,
    systemDatabasePoolSize: settings.databasePool,
    applicationVersion: '1',
    executorID,
    logLevel: 'warn',
    runAdminServer: false,
  });
  await DBOS.launch();
}

async function main([command, argument]: string[]): Promise<void> {
  switch (command) {
    case 'setup': // Launching creates DBOS's tables.
      await launch('setup');
      await DBOS.registerQueue(QUEUE, { workerConcurrency: settings.concurrency, minPollingIntervalMs: 50, onConflict: 'always_update' });
      return DBOS.shutdown();
    case 'seed':
      return seed(Number(argument));
    case 'work':
      await launch(argument);
      process.once('SIGTERM', () => void DBOS.shutdown().then(() => process.exit(0)));
      return;
    default:
      throw new Error('usage: main setup | seed N | work NAME');
  }
}

void main(process.argv.slice(2));
