/**
 * Opens many short fields of AES-256-GCM at once: the fast path of pages.
 *
 * An object of the platform for each field takes longer than the field itself. Here the blocks of the cipher for all fields of a key are
 * encrypted in one call of one kept object, and only the sum that authenticates a field (GHASH) is computed in JavaScript, by tables of
 * 4 bits as in section 4.1 of McGrew and Viega's specification of GCM. It opens nothing without having verified it, and declines
 * all that it does not open: long fields, platforms without the object, and what was changed. The general path decides then.
 */
import type { Envelope } from "./envelope.ts"

/** Encrypts whole blocks of 16 bytes, each for itself. */
export type BlockCipher = (blocks: Uint8Array) => Uint8Array

/** Remainders of a shift by four bits. */
const remainders = Uint16Array.of(
  0x0000,
  0x1c20,
  0x3840,
  0x2460,
  0x7080,
  0x6ca0,
  0x48c0,
  0x54e0,
  0xe100,
  0xfd20,
  0xd940,
  0xc560,
  0x9180,
  0x8da0,
  0xa9c0,
  0xb5e0
)

const blockLength = 16
const tagLength = 16

/** Longer fields take less time on the general path. */
const longest = 1024

/** A key of AES-256-GCM with its tables. Its members are private, so that nothing shows them. */
export class BatchKey {
  readonly #encrypt: BlockCipher
  /** The multiples of the hash key by the polynomials of degree 3 and less, in four words each. */
  readonly #table = new Uint32Array(64)
  readonly #sum = new Uint32Array(4)
  readonly #words = new Uint32Array(4)

  constructor(encrypt: BlockCipher) {
    this.#encrypt = encrypt
    const hashKey = encrypt(new Uint8Array(blockLength))
    const view = new DataView(hashKey.buffer, hashKey.byteOffset, blockLength)
    let [a, b, c, d] = [view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)]
    const table = this.#table
    table.set([a, b, c, d], 8 * 4)
    for (let at = 4; at > 0; at >>= 1) {
      const carry = d & 1 ? 0xe1000000 : 0
      d = (c << 31) | (d >>> 1)
      c = (b << 31) | (c >>> 1)
      b = (a << 31) | (b >>> 1)
      a = (a >>> 1) ^ carry
      table.set([a, b, c, d], at * 4)
    }
    for (let high = 2; high <= 8; high *= 2)
      for (let low = 1; low < high; low++)
        for (let word = 0; word < 4; word++)
          table[(high + low) * 4 + word] = (table[high * 4 + word] ?? 0) ^ (table[low * 4 + word] ?? 0)
  }

  /** Encrypts the blocks of several fields. */
  encrypt(blocks: Uint8Array): Uint8Array {
    return this.#encrypt(blocks)
  }

  begin(): void {
    this.#sum.fill(0)
  }

  /** Adds bytes to the sum, filled up with zeros to whole blocks. */
  add(bytes: Uint8Array, length: number): void {
    const whole = length - (length % blockLength)
    for (let at = 0; at < whole; at += blockLength)
      this.#addBlock(wordAt(bytes, at), wordAt(bytes, at + 4), wordAt(bytes, at + 8), wordAt(bytes, at + 12))
    if (whole < length) {
      const last = new Uint8Array(blockLength)
      last.set(bytes.subarray(whole, length))
      this.#addBlock(wordAt(last, 0), wordAt(last, 4), wordAt(last, 8), wordAt(last, 12))
    }
  }

  /** Adds the lengths in bytes, and compares the sum with a tag, which is masked. */
  verify(aadLength: number, textLength: number, tag: Uint8Array, mask: Uint8Array, maskAt: number): boolean {
    this.#addBlock(0, aadLength * 8, 0, textLength * 8)
    let difference = 0
    for (let word = 0; word < 4; word++)
      difference |= (this.#sum[word] ?? 0) ^ wordAt(tag, word * 4) ^ wordAt(mask, maskAt + word * 4)
    return difference === 0
  }

  #addBlock(a: number, b: number, c: number, d: number): void {
    const sum = this.#sum
    const table = this.#table
    const words = this.#words
    words[0] = d ^ (sum[3] ?? 0)
    words[1] = c ^ (sum[2] ?? 0)
    words[2] = b ^ (sum[1] ?? 0)
    words[3] = a ^ (sum[0] ?? 0)
    let z0 = 0
    let z1 = 0
    let z2 = 0
    let z3 = 0
    for (let n = 0; n < 4; n++) {
      const word = words[n] ?? 0
      for (let shift = 0; shift < 32; shift += 4) {
        const remainder = remainders[z3 & 15] ?? 0
        const at = ((word >>> shift) & 15) * 4
        z3 = ((z2 << 28) | (z3 >>> 4)) ^ (table[at + 3] ?? 0)
        z2 = ((z1 << 28) | (z2 >>> 4)) ^ (table[at + 2] ?? 0)
        z1 = ((z0 << 28) | (z1 >>> 4)) ^ (table[at + 1] ?? 0)
        z0 = (z0 >>> 4) ^ (remainder << 16) ^ (table[at] ?? 0)
      }
    }
    sum[0] = z0
    sum[1] = z1
    sum[2] = z2
    sum[3] = z3
  }
}

const wordAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)

/** A sealed field with its key. */
export interface SealedField {
  readonly key: BatchKey | undefined
  readonly place: string
  readonly envelope: Pick<Envelope, "nonce" | "ciphertext">
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const isShort = ({ ciphertext }: SealedField["envelope"]): boolean =>
  ciphertext.length >= tagLength && ciphertext.length <= longest

const blocksOf = ({ ciphertext }: SealedField["envelope"]): number =>
  1 + Math.ceil((ciphertext.length - tagLength) / blockLength)

/** The texts of fields; undefined for each that it declines. */
export const openAtOnce = (fields: ReadonlyArray<SealedField>): ReadonlyArray<string | undefined> => {
  const texts: Array<string | undefined> = Array.from({ length: fields.length })
  const byKey = new Map<BatchKey, Array<number>>()
  for (const [index, { envelope, key }] of fields.entries()) {
    if (key === undefined || !isShort(envelope)) continue
    const indexes = byKey.get(key)
    if (indexes === undefined) byKey.set(key, [index])
    else indexes.push(index)
  }
  for (const [key, indexes] of byKey) openOfKey(key, fields, indexes, texts)
  return texts
}

const openOfKey = (
  key: BatchKey,
  fields: ReadonlyArray<SealedField>,
  indexes: ReadonlyArray<number>,
  texts: Array<string | undefined>
): void => {
  let count = 0
  for (const index of indexes) {
    const field = fields[index]
    if (field !== undefined) count += blocksOf(field.envelope)
  }
  const blocks = new Uint8Array(count * blockLength)
  let at = 0
  for (const index of indexes) {
    const field = fields[index]
    if (field === undefined) continue
    // The counter of the first block, which masks the tag, is 1.
    for (let counter = 1; counter <= blocksOf(field.envelope); counter++) {
      blocks.set(field.envelope.nonce, at)
      blocks[at + 14] = counter >>> 8
      blocks[at + 15] = counter & 255
      at += blockLength
    }
  }
  const stream = key.encrypt(blocks)
  if (stream.length !== blocks.length) return
  at = 0
  for (const index of indexes) {
    const field = fields[index]
    if (field === undefined) continue
    const { ciphertext } = field.envelope
    const aad = encoder.encode(field.place)
    const length = ciphertext.length - tagLength
    key.begin()
    key.add(aad, aad.length)
    key.add(ciphertext, length)
    if (key.verify(aad.length, length, ciphertext.subarray(length), stream, at)) {
      const plaintext = new Uint8Array(length)
      for (let n = 0; n < length; n++)
        plaintext[n] = (ciphertext[n] ?? 0) ^ (stream[at + blockLength + n] ?? 0)
      texts[index] = decoder.decode(plaintext)
    }
    at += blocksOf(field.envelope) * blockLength
  }
}
