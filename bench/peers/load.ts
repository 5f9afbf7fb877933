/**
 * The packages of `bench/package.json`. They are loaded by name when a benchmark runs, so that the library is checked
 * and tested where they are not installed.
 */
export const loadPeer = <Module>(name: string): Promise<Module> =>
  // Each caller declares the part of the module that it uses.
  import(name) as Promise<Module>
