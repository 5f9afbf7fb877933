/** The entry of the page. */
import { render } from "preact"
// Signals that a component reads draw it again.
import "@preact/signals"
import { App } from "./app.tsx"

const target = document.getElementById("app")
if (target !== null) render(<App />, target)
