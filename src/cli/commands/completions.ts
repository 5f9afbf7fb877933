/** `completions`: the script that completes command lines in a shell. */
import { Console, Effect } from "effect"
import { Argument, Command, Completions } from "effect/cli"

/** The command, for the tree of commands that it completes. */
export const completions = (name: string, tree: ReadonlyArray<Command.Command.Any>) =>
  Command.make(
    "completions",
    {
      shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]).pipe(
        Argument.withDescription("The shell")
      )
    },
    ({ shell }) =>
      Effect.forEach(
        tree,
        (root) => Console.log(Completions.generate(name, shell, Completions.fromCommand(root))),
        { discard: true }
      )
  ).pipe(
    Command.withDescription("Print the script that completes command lines in a shell"),
    Command.withExamples([
      { command: `eval "$(${name} completions bash)"`, description: "For this session of bash" }
    ])
  )
