import { Injectable, OnApplicationShutdown } from '@nestjs/common';
import { Pool, PoolClient, QueryConfig, QueryResultRow } from 'pg';
import { settings } from './settings';

/** A statement that is prepared once per connection, by its name. */
export function statement(name: string, text: string): (...values: unknown[]) => QueryConfig {
  return (...values) => ({ name, text, values });
}

@Injectable()
export class Database implements OnApplicationShutdown {
  readonly pool = new Pool({ connectionString: settings.databaseUrl, max: settings.databasePool });

  async rows<Row extends QueryResultRow>(query: QueryConfig): Promise<Row[]> {
    return (await this.pool.query<Row>(query)).rows;
  }

  async transaction<Result>(work: (client: PoolClient) => Promise<Result>): Promise<Result> {
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query('COMMIT');
      client.release();
      return result;
    } catch (error) {
      // A connection whose rollback fails is closed instead of returned to the pool.
      await client.query('ROLLBACK').then(() => client.release(), (failed: Error) => client.release(failed));
      throw error;
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.pool.end();
  }
}
