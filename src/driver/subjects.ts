/** The subjects of a tenant in a storage: people that were forgotten, or that must not be. */
import { Schema } from "effect"

/** A reason not to erase a tenant, or to forget a subject, yet. */
export interface LegalHold {
  readonly actor: string
  readonly reason: string
  /** Milliseconds since 1970. */
  readonly heldAt: number
}

/** A subject that was forgotten, by the last time. */
export interface ForgottenSubject {
  /** The tenant's number of forgotten subjects right after it. */
  readonly number: number
  readonly subject: string
  /** The id of this forgetting, a UUID. The key vault has the same. */
  readonly forgetting: string
  /** Milliseconds since 1970. */
  readonly forgottenAt: number
  /** Milliseconds since 1970; undefined while the subject is forgotten. */
  readonly allowedAgainAt: number | undefined
  /** False from `forget` until `end`: its event may not be in the log yet. */
  readonly ended: boolean
}

/** A tenant's forgotten subjects. */
export interface ForgottenSubjects {
  /** The number of times that subjects of the tenant were forgotten; 0 for a tenant without any, and for an unknown one. */
  readonly forgotten: number
  /** Those with higher numbers than the requested one, ordered by number; none if only the number was requested. */
  readonly subjects: ReadonlyArray<ForgottenSubject>
}

/** A subject as the administration of its tenant sees it. */
export interface SubjectRow {
  readonly subject: string
  /** Its last forgetting; undefined if it was never forgotten. */
  readonly forgotten:
    | (Omit<ForgottenSubject, "subject" | "ended"> & { readonly actor: string; readonly reason: string })
    | undefined
  /** The id of a forgetting that has begun and not ended. */
  readonly begun: string | undefined
  /** A reason not to forget it. */
  readonly hold: LegalHold | undefined
}

/** A change of a subject. Each is one transaction under the lock of the tenant's row. */
export type SubjectChange =
  /**
   * Announces a forgetting, so that no hold can be set from then on. One that has begun and not ended keeps its id. Fails with
   * `SubjectHeld` under a hold.
   */
  | { readonly change: "begin"; readonly forgetting: string }
  /**
   * Forgets the subject: raises the tenant's number, so that all that was read or decided before is refused. The key vault has decided
   * it before, so no hold prevents it. It has begun then, until `end`. Changes nothing if this forgetting is recorded already.
   */
  | {
      readonly change: "forget"
      readonly forgetting: string
      /** Milliseconds since 1970. */
      readonly forgottenAt: number
      readonly actor: string
      readonly reason: string
    }
  /** Ends a forgetting, whose event is in the log. Changes nothing if it has ended. */
  | { readonly change: "end"; readonly forgetting: string }
  /** Allows a forgotten subject again. Changes nothing if it is not forgotten. */
  | { readonly change: "allow"; readonly allowedAt: number }
  /** Sets a legal hold. Its actor is that of the access. Refused while a forgetting is under way. */
  | { readonly change: "hold"; readonly reason: string }
  /** Releases the hold. */
  | { readonly change: "release" }

/** Raised when a subject is to be forgotten that is under a legal hold. Release the hold first. */
export class SubjectHeld extends Schema.TaggedError<SubjectHeld>()("SubjectHeld", {
  tenantId: Schema.String,
  subject: Schema.String,
  actor: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `subject ${this.subject} of tenant ${this.tenantId} must not be forgotten: ${this.actor} holds it (${this.reason}). Release the hold first`
  }
}
