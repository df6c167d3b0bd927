function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const settings = {
  databaseUrl: required('DATABASE_URL'),
  mailDir: required('MAIL_DIR'),
  // Workflows at once in a process. The values that were tried are in ../README.md.
  concurrency: Number(process.env.CONCURRENCY ?? 16),
  // Connections of a process to its tables, and as many to DBOS's own.
  databasePool: Number(process.env.DATABASE_POOL ?? 8),
};

export const QUEUE = 'orders';
