/**
 * The schema number of this version of the library. It only grows: raise it here and in
 * `migrations/checks/schema_version.sql` with every change of a shipped SQL file, then run `npx tsx scripts/record-schema.ts`.
 */
export const schemaNumber: number = 1

/** The lowest schema that this version of the library works on. */
export const lowestSchema: number = 1
