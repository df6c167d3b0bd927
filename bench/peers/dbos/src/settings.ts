function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const settings = {
  databaseUrl: required('DATABASE_URL'),
  mailDir: required('MAIL_DIR'),
  // Concurrent workflows per process: ../README.md, "Tuning".
  concurrency: Number(process.env.CONCURRENCY ?? 16),
  // Connections per process, and the same number for DBOS's own tables.
  databasePool: Number(process.env.DATABASE_POOL ?? 8),
};

export const QUEUE = 'orders';
