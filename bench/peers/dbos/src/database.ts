import { PostgresDataSource } from '@dbos-inc/postgres-datasource';
import { settings } from './settings';

const url = new URL(settings.databaseUrl);

export const options = {
  host: url.hostname,
  port: Number(url.port || 5432),
  database: url.pathname.slice(1),
  username: decodeURIComponent(url.username),
  password: decodeURIComponent(url.password),
  max: settings.databasePool,
};

/** Runs transactions that write DBOS's checkpoint together with their rows. */
export const tables = new PostgresDataSource('tables', options);
