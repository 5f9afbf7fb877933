/** Actions: first the dry run with its counts, then the confirmation. There are none for an operator who may only look. */
import type { JSX } from "preact"
import { useRef, useState } from "preact/hooks"
import type { ActionName, Done, Progress } from "../../operations/Acts.ts"
import { me, postAndFollow, post } from "./api.ts"
import { Failure, Json, Note } from "./parts.tsx"

type Name = typeof ActionName.Encoded
type End = typeof Done.Encoded
type Step = typeof Progress.Encoded

/** The actions that answer with their progress. */
const long: ReadonlySet<Name> = new Set(["rebuild", "retryDeadLetters", "discardDeadLetters", "verify"])

interface Request {
  readonly tenant: string
  readonly name: Name
  readonly parameters?: Readonly<Record<string, unknown>>
}

const run = async (
  { name, parameters = {}, tenant }: Request,
  dryRun: boolean,
  onStep: (step: Step) => void
): Promise<End | undefined> => {
  const path = `/tenants/${tenant}/actions/${name}`
  const body = { ...parameters, dryRun }
  if (!long.has(name)) return await post<End>(path, body)
  let end: End | undefined
  await postAndFollow<Step>(path, body, (steps) => {
    const last = steps.at(-1)
    if (last === undefined) return
    onStep(last)
    end = last.result ?? end
  })
  return end
}

const countsOf = ({ counts }: End): string => {
  const given = Object.entries(counts).filter(([, count]) => count !== null && count !== 0)
  return given.length === 0 ? "nothing" : given.map(([unit, count]) => `${count} ${unit}`).join(", ")
}

/** A button for an action, or nothing if the operator may only look. */
export const Act = ({
  onDone,
  title,
  ...request
}: Request & { readonly title: string; readonly onDone: () => void }): JSX.Element | null => {
  const dialog = useRef<HTMLDialogElement>(null)
  const [dry, setDry] = useState<End | undefined>(undefined)
  const [end, setEnd] = useState<End | undefined>(undefined)
  const [step, setStep] = useState<Step | undefined>(undefined)
  const [error, setError] = useState<string | undefined>(undefined)
  const [busy, setBusy] = useState(false)
  if (me.value?.may !== "act") return null
  const attempt = async (dryRun: boolean) => {
    setBusy(true)
    setError(undefined)
    try {
      const answer = await run(request, dryRun, setStep)
      if (dryRun) setDry(answer)
      else {
        setEnd(answer)
      }
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : "the action failed")
    }
    setBusy(false)
  }
  const open = () => {
    setDry(undefined)
    setEnd(undefined)
    setStep(undefined)
    dialog.current?.showModal()
    void attempt(true)
  }
  return (
    <>
      <button type="button" class="small" onClick={open}>
        {title}
      </button>
      <dialog
        ref={dialog}
        aria-label={title}
        onClose={() => {
          // Not before: the button may be gone after the next look.
          if (end !== undefined) onDone()
        }}
      >
        <article>
          <h2>{title}</h2>
          <p>
            Tenant <code>{request.tenant}</code>
          </p>
          {request.parameters === undefined ? null : <Json label="Parameters" of={request.parameters} />}
          <Failure of={error} />
          <Note>
            {end !== undefined
              ? `Done: ${end.changed ? countsOf(end) : "nothing was changed"}.`
              : busy && step !== undefined
                ? `${step.step}: ${step.done}${step.total === null ? "" : ` of ${step.total}`} ${step.unit}`
                : dry === undefined
                  ? ""
                  : `It would change ${dry.changed ? countsOf(dry) : "nothing"}.`}
          </Note>
          <form method="dialog" class="filters">
            <button
              type="button"
              disabled={busy || dry === undefined || end !== undefined}
              onClick={() => void attempt(false)}
            >
              {title} now
            </button>
            <button type="submit">Close</button>
          </form>
        </article>
      </dialog>
    </>
  )
}
