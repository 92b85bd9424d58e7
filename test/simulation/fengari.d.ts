/** The parts of fengari that the simulation uses; `state` is a Lua state. */
declare module 'fengari' {
  const fengari: {
    // biome-ignore lint/suspicious/noExplicitAny: the C API of Lua, untyped
    readonly lua: any;
    // biome-ignore lint/suspicious/noExplicitAny: the C API of Lua, untyped
    readonly lauxlib: any;
    readonly lualib: { luaL_openlibs(state: unknown): void };
    to_luastring(text: string): Uint8Array;
    to_jsstring(bytes: Uint8Array): string;
  };
  export default fengari;
}
