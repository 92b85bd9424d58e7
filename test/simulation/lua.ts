import fengari from 'fengari';

const { lua, lauxlib, lualib, to_luastring: toLuaString, to_jsstring: toJsString } = fengari;

/** A reply of Redis, or an argument of a command, between Lua and JavaScript. */
export type LuaValue = Buffer | number | null | readonly LuaValue[];

/** Calls a Redis command for a script. */
type Call = (args: readonly Buffer[]) => LuaValue;

/** Runs the scripts of Redis's `EVAL` in a real Lua. */
export class LuaScripts {
  readonly #state = lauxlib.luaL_newstate();
  readonly #compiled = new Map<string, number>();
  #call: Call = () => null;

  constructor() {
    const state = this.#state;
    lualib.luaL_openlibs(state);
    lua.lua_createtable(state, 0, 1);
    lua.lua_pushcfunction(state, (inner: unknown) => {
      const args: Buffer[] = [];
      for (let index = 1; index <= lua.lua_gettop(inner); index += 1)
        args.push(Buffer.from(lua.lua_tolstring(inner, index) as Uint8Array));
      this.#pushValue(inner, this.#call(args));
      return 1;
    });
    lua.lua_setfield(state, -2, toLuaString('call'));
    lua.lua_setglobal(state, toLuaString('redis'));
  }

  /** The result of the script, converted as Redis does it. */
  run(script: string, keys: readonly Buffer[], args: readonly Buffer[], call: Call): LuaValue {
    const state = this.#state;
    this.#call = call;
    let compiled = this.#compiled.get(script);
    if (compiled === undefined) {
      if (lauxlib.luaL_loadstring(state, toLuaString(script)) !== lua.LUA_OK) throw this.#takeError();
      compiled = lauxlib.luaL_ref(state, lua.LUA_REGISTRYINDEX) as number;
      this.#compiled.set(script, compiled);
    }
    this.#setGlobalList('KEYS', keys);
    this.#setGlobalList('ARGV', args);
    lua.lua_rawgeti(state, lua.LUA_REGISTRYINDEX, compiled);
    if (lua.lua_pcall(state, 0, 1, 0) !== lua.LUA_OK) throw this.#takeError();
    const result = this.#readValue(state, -1);
    lua.lua_settop(state, 0);
    return result;
  }

  #takeError(): Error {
    const message = toJsString(lua.lua_tolstring(this.#state, -1) as Uint8Array);
    lua.lua_settop(this.#state, 0);
    return new Error(`ERR ${message}`);
  }

  #setGlobalList(name: string, items: readonly Buffer[]): void {
    this.#pushValue(this.#state, items);
    lua.lua_setglobal(this.#state, toLuaString(name));
  }

  #pushValue(state: unknown, value: LuaValue): void {
    if (value === null) lua.lua_pushboolean(state, 0);
    else if (typeof value === 'number') lua.lua_pushinteger(state, value);
    else if (Buffer.isBuffer(value)) lua.lua_pushstring(state, new Uint8Array(value));
    else {
      const items = value as readonly LuaValue[];
      lua.lua_createtable(state, items.length, 0);
      items.forEach((each, index) => {
        this.#pushValue(state, each);
        lua.lua_rawseti(state, -2, index + 1);
      });
    }
  }

  #readValue(state: unknown, index: number): LuaValue {
    switch (lua.lua_type(state, index)) {
      case lua.LUA_TNUMBER:
        return Math.trunc(lua.lua_tonumber(state, index) as number);
      case lua.LUA_TSTRING:
        return Buffer.from(lua.lua_tolstring(state, index) as Uint8Array);
      case lua.LUA_TBOOLEAN:
        return lua.lua_toboolean(state, index) ? 1 : null;
      case lua.LUA_TTABLE: {
        const items: LuaValue[] = [];
        for (let position = 1; ; position += 1) {
          lua.lua_rawgeti(state, index, position);
          if (lua.lua_type(state, -1) === lua.LUA_TNIL) break;
          items.push(this.#readValue(state, lua.lua_gettop(state) as number));
          lua.lua_settop(state, -2);
        }
        lua.lua_settop(state, -2);
        return items;
      }
      default:
        return null;
    }
  }
}
