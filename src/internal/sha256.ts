/** Synchronous SHA-256 (FIPS 180-4). A log in memory could change during a call of the Web Crypto API, which is asynchronous. */

/** The first 32 bits of the fractional parts of roots of the first primes. */
const fractions = (count: number, root: (prime: number) => number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let candidate = 2; found.length < count; candidate++) {
    let isPrime = true
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) {
      if (candidate % divisor === 0) isPrime = false
    }
    if (isPrime) found.push(((root(candidate) % 1) * 2 ** 32) | 0)
  }
  return found
}

const roundConstants = Int32Array.from(fractions(64, Math.cbrt))
const initial = Int32Array.from(fractions(8, Math.sqrt))

const rotate = (word: number, by: number): number => (word >>> by) | (word << (32 - by))

/** The digest of a message, 32 bytes. */
export const sha256 = (message: Uint8Array): Uint8Array => {
  const length = message.length
  const blocks = Math.ceil((length + 9) / 64)
  const padded = new Uint8Array(blocks * 64)
  padded.set(message)
  padded[length] = 0x80
  const view = new DataView(padded.buffer)
  view.setUint32(padded.length - 8, Math.floor(length / 2 ** 29))
  view.setUint32(padded.length - 4, (length << 3) >>> 0)

  const state = Int32Array.from(initial)
  const words = new Int32Array(64)
  const word = (index: number): number => words[index] ?? 0
  for (let offset = 0; offset < padded.length; offset += 64) {
    for (let t = 0; t < 16; t++) words[t] = view.getInt32(offset + t * 4)
    for (let t = 16; t < 64; t++) {
      const [w15, w2] = [word(t - 15), word(t - 2)]
      const small0 = rotate(w15, 7) ^ rotate(w15, 18) ^ (w15 >>> 3)
      const small1 = rotate(w2, 17) ^ rotate(w2, 19) ^ (w2 >>> 10)
      words[t] = word(t - 16) + small0 + word(t - 7) + small1
    }
    let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = state
    for (let t = 0; t < 64; t++) {
      const big1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      const one = (h + big1 + ((e & f) ^ (~e & g)) + (roundConstants[t] ?? 0) + word(t)) | 0
      const big0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
      const two = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + one) | 0
      d = c
      c = b
      b = a
      a = (one + two) | 0
    }
    for (const [index, value] of [a, b, c, d, e, f, g, h].entries()) {
      state[index] = (state[index] ?? 0) + value
    }
  }
  const digest = new DataView(new ArrayBuffer(32))
  for (const [index, value] of state.entries()) digest.setInt32(index * 4, value)
  return new Uint8Array(digest.buffer)
}
