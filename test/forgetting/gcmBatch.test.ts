/** The fast path of opening fields gives the same texts as the platform's AES-256-GCM, and declines everything else. */
import { assert, describe, it } from "@effect/vitest"
import { createCipheriv, randomBytes } from "node:crypto"
import { batchKey } from "../../src/forgetting/cipher.ts"
import { openAtOnce, type SealedField } from "../../src/forgetting/gcmBatch.ts"

/** A field that the platform has sealed. */
const sealedBy = (bytes: Uint8Array, place: string, text: string): SealedField => {
  const nonce = randomBytes(12)
  const cipher = createCipheriv("aes-256-gcm", bytes, nonce)
  cipher.setAAD(Buffer.from(place))
  const ciphertext = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()])
  return { key: batchKey(bytes), place, envelope: { nonce, ciphertext } }
}

/** All lengths around the edges of blocks, with characters of one to four bytes. */
const letters = [..."aé€🦊".repeat(20)]
const texts = Array.from({ length: 70 }, (_, length) => letters.slice(0, length).join(""))
const places = Array.from({ length: 70 }, (_, length) => `field 1 ${"ü".repeat(length)}`)

const changed = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, index) => (index === at ? byte ^ 1 : byte))

describe("fields that are opened at once", () => {
  it("have the texts that the platform has sealed, under several keys", () => {
    const keys = [randomBytes(32), randomBytes(32), randomBytes(32)]
    const fields = texts.map((text, n) =>
      sealedBy(keys[n % 3] ?? keys[0] ?? randomBytes(32), places[(n * 7) % 70] ?? "", text)
    )
    assert.deepStrictEqual(openAtOnce(fields), texts)
    // one object for each key
    const [first] = keys
    const key = batchKey(first ?? randomBytes(32))
    const own = fields
      .filter((_, n) => n % 3 === 0)
      .map(({ envelope, place }): SealedField => ({ key, place, envelope }))
    assert.deepStrictEqual(
      openAtOnce(own),
      texts.filter((_, n) => n % 3 === 0)
    )
  })

  it("are declined if anything of them was changed, and the others are opened", () => {
    const bytes = randomBytes(32)
    const key = batchKey(bytes)
    const field = { ...sealedBy(bytes, "field 1 here", "Ada Lovelace, London"), key }
    const { ciphertext, nonce } = field.envelope
    const wrong: ReadonlyArray<SealedField> = [
      ...Array.from(ciphertext, (_, at) => ({
        ...field,
        envelope: { nonce, ciphertext: changed(ciphertext, at) }
      })),
      ...Array.from(nonce, (_, at) => ({ ...field, envelope: { nonce: changed(nonce, at), ciphertext } })),
      { ...field, place: "field 1 there" },
      { ...field, place: "field 1 here\0" },
      { ...field, key: batchKey(randomBytes(32)) },
      { ...field, envelope: { nonce, ciphertext: ciphertext.subarray(1) } },
      { ...field, envelope: { nonce, ciphertext: ciphertext.subarray(0, 15) } },
      { ...field, key: undefined }
    ]
    for (const one of wrong)
      assert.deepStrictEqual(openAtOnce([field, one, field]), [
        "Ada Lovelace, London",
        undefined,
        "Ada Lovelace, London"
      ])
  })

  it("are declined if they are long", () => {
    const bytes = randomBytes(32)
    assert.deepStrictEqual(openAtOnce([sealedBy(bytes, "field 1", "x".repeat(2000))]), [undefined])
  })

  it("have a key that shows nothing of itself", () => {
    const key = batchKey(Buffer.alloc(32, 7))
    assert.strictEqual(JSON.stringify(key), "{}")
    assert.deepStrictEqual(Object.keys(key ?? { none: 1 }), [])
  })
})
