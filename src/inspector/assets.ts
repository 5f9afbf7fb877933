/** The files of the page. From the sources they are bundled at the first use; the published module has their texts. */
import { bundle } from "./bundle.ts"

let bundled: Promise<ReadonlyMap<string, string>> | undefined

/** The texts of `index.html`, `page.js` and `page.css`. */
export const assets = (): Promise<ReadonlyMap<string, string>> => (bundled ??= bundle())
