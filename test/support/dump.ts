import type pg from "pg";

/** Every row of every table, as text; bytes in hexadecimal digits. */
export async function dumpOf(pool: pg.Pool): Promise<string> {
  const tables = await pool.query<{ name: string }>(
    "select quote_ident(tablename) as name from pg_tables where schemaname = 'public'",
  );
  const lines: string[] = [];
  for (const { name } of tables.rows) {
    const { rows } = await pool.query<{ line: string }>(`select t::text as line from ${name} t`);
    lines.push(...rows.map(({ line }) => line));
  }
  return lines.join("\n");
}
