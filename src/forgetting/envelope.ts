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
import { Result } from "effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { type JsonPlace, jsonPlaces, spliced } from "./jsonPlaces.ts"
import { sealedMember } from "../domain/codec/aggregateCodec.ts"

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

/** A sealed field in a text. */
export interface Envelope {
  readonly place: JsonPlace
  readonly keyId: string
  readonly nonce: Uint8Array
  readonly ciphertext: Uint8Array
  /** JSON text of the path at which it was sealed. */
  readonly path: string
}

export const envelopeText = (
  keyId: string,
  nonce: Uint8Array,
  ciphertext: Uint8Array,
  path: string
): string =>
  beginning +
  keyId +
  beforeNonce +
  Base64Url.encode(nonce) +
  beforeText +
  Base64Url.encode(ciphertext) +
  beforePath +
  path +
  "}"

/** Reads the parts of an envelope. Undefined if it is damaged or of another version. */
const read = (text: string, place: JsonPlace): Envelope | undefined => {
  const { start } = place
  const end = place.end - 1
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
  if (dataEnd < 0 || dataEnd >= end || !text.startsWith(beforePath, dataEnd)) return undefined
  const path = text.slice(dataEnd + beforePath.length, end)
  const nonceBytes = Base64Url.decode(text.slice(nonce, nonce + nonceLength))
  const ciphertext = Base64Url.decode(text.slice(data, dataEnd))
  if (Result.isFailure(nonceBytes) || Result.isFailure(ciphertext)) return undefined
  return {
    place,
    keyId: text.slice(key, key + keyLength),
    nonce: nonceBytes.success,
    ciphertext: ciphertext.success,
    path
  }
}

/** True if a text may have envelopes. */
export const hasEnvelopes = (text: string): boolean => text.includes(marker)

/** The envelopes of a text, in its order. Undefined if one of them is damaged or moved. */
export const envelopesOf = (text: string): ReadonlyArray<Envelope> | undefined => {
  const envelopes: Array<Envelope> = []
  for (const place of jsonPlaces(text, (_, start) => text.startsWith(marker, start), Infinity)) {
    const envelope = read(text, place)
    if (envelope === undefined || envelope.path !== JSON.stringify(place.path)) return undefined
    envelopes.push(envelope)
  }
  return envelopes
}

/** The envelope of a text that is sealed as a whole. Undefined if it is damaged. */
export const envelopeOfAll = (text: string): Envelope | undefined =>
  read(text, { path: [], start: 0, end: text.length })

/** A text with other texts in place of its envelopes. */
export const replaceEnvelopes = (
  text: string,
  envelopes: ReadonlyArray<Envelope>,
  replacements: ReadonlyArray<string>
): string =>
  spliced(
    text,
    envelopes.map(({ place }) => place),
    replacements
  )
