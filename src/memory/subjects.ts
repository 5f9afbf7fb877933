/** The subjects of a tenant in memory. `change_subject.sql` makes the same changes. */
import type { LegalHold, SubjectChange, SubjectRow } from "../driver/AdministrationStorage.ts"
import type { ForgottenSubjects } from "../driver/EventStorage.ts"
import { byCodePoints } from "../driver/codePoints.ts"

/** A refusal: by a hold, or for a reason. */
export type Refused = { readonly held: LegalHold } | { readonly problem: string }

const unknown = (subject: string): SubjectRow => ({
  subject,
  forgotten: undefined,
  begun: undefined,
  hold: undefined
})

/** True if a forgetting has begun that is not the last one. */
const isUnderWay = ({ begun, forgotten }: SubjectRow): boolean =>
  begun !== undefined && begun !== forgotten?.forgetting

export class Subjects {
  /** The number of times that subjects were forgotten. */
  forgotten = 0
  readonly #rows = new Map<string, SubjectRow>()

  get size(): number {
    return this.#rows.size
  }

  clear(): void {
    this.forgotten = 0
    this.#rows.clear()
  }

  /** All subjects, ordered by code points. */
  all(): ReadonlyArray<SubjectRow> {
    return [...this.#rows.values()].toSorted((one, other) => byCodePoints(one.subject, other.subject))
  }

  /** Those under a legal hold, ordered by code points. */
  held(): ReadonlyArray<Omit<LegalHold, "heldAt"> & { readonly subject: string }> {
    return this.all().flatMap(({ hold, subject }) =>
      hold === undefined ? [] : [{ subject, actor: hold.actor, reason: hold.reason }]
    )
  }

  restore(forgotten: number, rows: ReadonlyArray<SubjectRow>): void {
    this.forgotten = forgotten
    for (const row of rows) this.#rows.set(row.subject, row)
  }

  /** Those with higher numbers; none without a number. */
  after(number: number | undefined): ForgottenSubjects {
    if (number === undefined) return { forgotten: this.forgotten, subjects: [] }
    const subjects = [...this.#rows.values()].flatMap(({ begun, forgotten, subject }) => {
      if (forgotten === undefined || forgotten.number <= number) return []
      const { allowedAgainAt, forgetting, forgottenAt, number: own } = forgotten
      const ended = begun !== forgetting
      return [{ number: own, subject, forgetting, forgottenAt, allowedAgainAt, ended }]
    })
    return {
      forgotten: this.forgotten,
      subjects: subjects.toSorted((one, other) => one.number - other.number)
    }
  }

  change(subject: string, change: SubjectChange, actor: string, at: number): SubjectRow | Refused {
    const row = this.#rows.get(subject) ?? unknown(subject)
    const changed = this.#changed(row, change, actor, at)
    if ("subject" in changed) this.#rows.set(subject, changed)
    return changed
  }

  #changed(row: SubjectRow, change: SubjectChange, actor: string, at: number): SubjectRow | Refused {
    switch (change.change) {
      case "begin":
        if (row.hold !== undefined) return { held: row.hold }
        return row.forgotten?.forgetting === change.forgetting
          ? row
          : { ...row, begun: isUnderWay(row) ? row.begun : change.forgetting }
      case "forget": {
        if (row.forgotten?.forgetting === change.forgetting) return row
        const { change: _, ...forgotten } = change
        this.forgotten++
        return {
          ...row,
          begun: change.forgetting,
          forgotten: { ...forgotten, number: this.forgotten, allowedAgainAt: undefined }
        }
      }
      case "end":
        return row.begun === change.forgetting ? { ...row, begun: undefined } : row
      case "allow":
        return row.forgotten === undefined || row.forgotten.allowedAgainAt !== undefined
          ? row
          : { ...row, forgotten: { ...row.forgotten, allowedAgainAt: change.allowedAt } }
      case "hold":
        return row.begun === undefined
          ? { ...row, hold: { actor, reason: change.reason, heldAt: at } }
          : { problem: "the subject is being forgotten: end that first" }
      case "release":
        return { ...row, hold: undefined }
    }
  }
}
