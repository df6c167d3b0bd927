function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const settings = {
  databaseUrl: required('DATABASE_URL'),
  amqpUrl: required('AMQP_URL'),
  mailDir: required('MAIL_DIR'),
  // Per queue and process: ../README.md, "Tuning".
  prefetch: Number(process.env.PREFETCH ?? 8),
  // Connections per process.
  databasePool: Number(process.env.DATABASE_POOL ?? 8),
};
