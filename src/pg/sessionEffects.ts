/**
 * Recognises statements that may leave something on the session, by their text. If the text does not rule it out, the answer
 * is yes, which costs a round trip. Functions, triggers and operators that a statement calls without naming them are not
 * visible here; the next transaction of a tenant removes their leftovers.
 */

const harmlessStart =
  /^\s*(?:select|insert|update|delete|merge|with|values|table|savepoint|release|rollback\s+to)\b/i

/** Temporary objects, and comments, which might hide anything. */
const suspicious = /\btemp|pg_temp|--|\/\*/i

/** A name before a parenthesis, with its schema. */
const call = /((?:(?:"[^"]*"|[\p{L}_][\p{L}\p{N}_$]*)\s*\.\s*)*(?:"[^"]*"|[\p{L}_][\p{L}\p{N}_$]*))\s*\(/gu

/** The columns of an insert. */
const insertColumns = /\binto\s+[\w$."]+(?:\s+as\s+\w+)?\s*\(/gi

const harmlessCalls = new Set(
  `abs all and any array array_agg array_append array_length array_position as avg bool_and bool_or btrim by case cast ceil
  ceiling char char_length clock_timestamp coalesce concat concat_ws conflict count cume_dist current_date current_timestamp
  date date_part date_trunc decimal dense_rank distinct else encode decode except exists extract filter first_value floor
  from gen_random_uuid generate_series generate_subscripts greatest grouping having in initcap int4 int8 intersect interval
  join json_agg json_build_array json_build_object json_object_agg jsonb_agg jsonb_array_elements jsonb_array_elements_text
  jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_object_agg jsonb_object_keys
  jsonb_path_exists jsonb_path_query jsonb_set jsonb_strip_nulls jsonb_to_recordset jsonb_typeof lag last_value lateral lead
  least left length like limit lower lpad ltrim make_interval materialized max md5 min mod not now nth_value ntile nullif
  numeric offset on only or order over overlay partition percent_rank percentile_cont position power rank regexp_match
  regexp_matches regexp_replace regexp_split_to_array replace returning right round row row_number row_to_json rpad rtrim
  select set sha256 sign some split_part sqrt starts_with string_agg string_to_array strpos substr substring sum then time
  timestamp timestamptz to_char to_date to_json to_jsonb to_number to_timestamp translate trim trunc union unnest upper using
  uuid values varchar when where within`.split(/\s+/)
)

const isHarmlessCall = (name: string): boolean => {
  const plain = name.replace(/\s/g, "").toLowerCase()
  return plain.startsWith("eventsourcing.") || harmlessCalls.has(plain.replace(/^pg_catalog\./, ""))
}

const examine = (text: string): boolean => {
  if (!harmlessStart.test(text) || suspicious.test(text)) return true
  for (const [, name] of text.replace(insertColumns, " ").matchAll(call))
    if (name !== undefined && !isHarmlessCall(name)) return true
  return false
}

/** Answers by text, because most programs repeat a few texts many times. */
const known = new Map<string, boolean>()
const maxKnown = 2000

/** True if a statement may leave something on the session after its transaction. */
export const mayOutlive = (text: string): boolean => {
  let answer = known.get(text)
  if (answer === undefined) {
    if (known.size >= maxKnown) known.clear()
    known.set(text, (answer = examine(text)))
  }
  return answer
}

/** True if a statement loads a library, which cannot be removed from the session. */
export const loads = (text: string): boolean => /\bload\b/i.test(text) && !harmlessStart.test(text)
