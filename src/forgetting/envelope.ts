/**
 * The text that stands in a stored payload in place of a personal field:
 *
 * ```json
 * {"$sealed":1,"alg":"A256GCM","key":"…","nonce":"…","text":"…","path":["guests",0,"name"]}
 * ```
 *
 * `text` is the JSON text of the field, encrypted. Only this exact beginning is an envelope: in a string of JSON the quotes would be
 * escaped, and an event of a program with such a member is refused.
 */
import { spliced, type TextRange, walkJson } from "./jsonPlaces.ts"
import { samePath, sealedMember } from "../domain/codec/aggregateCodec.ts"

/** The beginning of every envelope. */
export const marker = `{"${sealedMember}":`

/** The encoded form of a field of a person who was forgotten. */
export const forgottenText = '{"$forgotten":true}'

const beginning = `${marker}1,"alg":"A256GCM","key":"`
const beforeNonce = '","nonce":"'
const beforeText = '","text":"'
const beforePath = '","path":'

/** Characters of a key id, and of a nonce of 12 bytes. */
const keyLength = 22
const nonceLength = 16

/** A sealed field in a text, which is not decoded until its key is known. */
export interface Envelope extends TextRange {
  readonly keyId: string
  /** Base64Url. */
  readonly nonce: string
  /** The ciphertext with its tag, Base64Url. */
  readonly ciphertext: string
  /** JSON text of the path at which it was sealed. */
  readonly path: string
}

/** The parts of an envelope that are opened. */
export type Sealed = Pick<Envelope, "nonce" | "ciphertext">

/** The text of an envelope. Nonce and ciphertext are Base64Url. */
export const envelopeText = (keyId: string, nonce: string, ciphertext: string, path: string): string =>
  beginning + keyId + beforeNonce + nonce + beforeText + ciphertext + beforePath + path + "}"

/** Reads an envelope that was sealed under a path. Undefined if it is damaged, of another version, or of another path. */
const read = (text: string, start: number, path: string): Envelope | undefined => {
  const key = start + beginning.length
  const nonce = key + keyLength + beforeNonce.length
  const data = nonce + nonceLength + beforeText.length
  if (
    !text.startsWith(beginning, start) ||
    !text.startsWith(beforeNonce, key + keyLength) ||
    !text.startsWith(beforeText, nonce + nonceLength)
  )
    return undefined
  const dataEnd = text.indexOf('"', data)
  if (dataEnd < 0 || !text.startsWith(beforePath, dataEnd)) return undefined
  const pathStart = dataEnd + beforePath.length
  const end = pathStart + path.length + 1
  if (!text.startsWith(path, pathStart) || text[end - 1] !== "}") return undefined
  return {
    start,
    end,
    keyId: text.slice(key, key + keyLength),
    nonce: text.slice(nonce, nonce + nonceLength),
    ciphertext: text.slice(data, dataEnd),
    path
  }
}

/** True if a text may have envelopes. */
export const hasEnvelopes = (text: string): boolean => text.includes(marker)

/** The last path with its text: events of a page often have the same ones. */
let lastPath: ReadonlyArray<string | number> = []
let lastPathText = "[]"

const pathText = (path: ReadonlyArray<string | number>): string => {
  if (!samePath(lastPath, path)) {
    lastPath = [...path]
    lastPathText = JSON.stringify(lastPath)
  }
  return lastPathText
}

/** The envelopes of a text, in its order. Undefined if one of them is damaged or moved. */
export const envelopesOf = (text: string): ReadonlyArray<Envelope> | undefined => {
  const envelopes: Array<Envelope> = []
  // A string in a text has its quotes escaped, so the marker begins a value.
  let next = text.indexOf(marker)
  if (next < 0) return envelopes
  walkJson(text, (path, start) => {
    if (start !== next) return undefined
    const envelope = read(text, start, pathText(path))
    if (envelope === undefined) return text.length
    envelopes.push(envelope)
    next = text.indexOf(marker, envelope.end)
    return next < 0 ? text.length : envelope.end
  })
  return next < 0 ? envelopes : undefined
}

/** The envelope of a text that is sealed as a whole. Undefined if it is damaged. */
export const envelopeOfAll = (text: string): Envelope | undefined => {
  const at = text.indexOf(beforePath)
  return at < 0 ? undefined : read(text, 0, text.slice(at + beforePath.length, -1))
}

/** A text with other texts in place of its envelopes. */
export const replaceEnvelopes: (
  text: string,
  envelopes: ReadonlyArray<Envelope>,
  replacements: ReadonlyArray<string>
) => string = spliced
