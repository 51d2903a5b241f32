/*
 * redis_lua.c -- the scripts of schemas/lua, run as they are, in the Lua that Redis has (5.1).
 *
 * Values change hands by Redis's rules: nil becomes false on the way in, a status a table with
 * `ok`; on the way out a table is a list up to its first nil, false is nil, numbers lose their
 * fraction.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <stdlib.h>

#include "tests/sim/redis_inside.h"

enum { WORDS_MAX = 64 };

static void push_answer(lua_State *lua, const struct sim_answer *answer)
{
    switch (answer->kind) {
    case REDIS_NIL:
        lua_pushboolean(lua, 0);
        break;
    case REDIS_NUMBER:
        lua_pushnumber(lua, (lua_Number)answer->number);
        break;
    case REDIS_LIST:
        lua_newtable(lua);
        for (size_t i = 0; i < answer->count; i++) {
            push_answer(lua, &answer->items[i]);
            lua_rawseti(lua, -2, (int)i + 1);
        }
        break;
    case REDIS_TEXT:
    case REDIS_FAILED:
        if (answer->status)
            lua_newtable(lua);
        lua_pushlstring(lua, answer->text, answer->len);
        if (answer->status)
            lua_setfield(lua, -2, "ok");
        break;
    }
}

static int call(lua_State *lua)
{
    struct sim_redis *redis = lua_touserdata(lua, lua_upvalueindex(1));
    struct str words[WORDS_MAX];
    int count = lua_gettop(lua);
    must(count > 0 && count <= WORDS_MAX);
    for (int i = 0; i < count; i++) {
        size_t len;
        words[i].data = luaL_checklstring(lua, i + 1, &len);
        words[i].len = len;
    }
    struct sim_answer answer;
    sim_redis_command(redis, words, (size_t)count, &answer);
    push_answer(lua, &answer);
    bool failed = answer.kind == REDIS_FAILED;
    sim_answer_done(&answer);
    return failed ? lua_error(lua) : 1;
}

/* A table with `ok` is a status, one with `err` an error; false: it is neither. */
static bool take_status(lua_State *lua, const char *field, struct sim_answer *ret)
{
    lua_getfield(lua, -1, field);
    bool found = lua_type(lua, -1) == LUA_TSTRING;
    if (found && field[0] == 'e') {
        sim_answer_fail(ret, lua_tostring(lua, -1));
    } else if (found) {
        sim_answer_text(ret, str_of(lua_tostring(lua, -1)));
        ret->status = true;
    }
    lua_pop(lua, 1);
    return found;
}

static void take_answer(lua_State *lua, struct sim_answer *ret)
{
    *ret = (struct sim_answer){.kind = REDIS_NIL};
    if (lua_type(lua, -1) == LUA_TSTRING) {
        size_t len;
        const char *text = lua_tolstring(lua, -1, &len);
        sim_answer_text(ret, str_from(text, len));
    } else if (lua_type(lua, -1) == LUA_TNUMBER) {
        ret->kind = REDIS_NUMBER;
        ret->number = (int64_t)lua_tonumber(lua, -1);
    } else if (lua_type(lua, -1) == LUA_TTABLE && !take_status(lua, "ok", ret) &&
               !take_status(lua, "err", ret)) {
        ret->kind = REDIS_LIST;
        for (int i = 1;; i++) {
            lua_rawgeti(lua, -1, i);
            bool end = lua_isnil(lua, -1);
            if (!end) {
                ret->items = xrealloc(ret->items, (ret->count + 1) * sizeof(*ret->items));
                take_answer(lua, &ret->items[ret->count++]);
            }
            lua_pop(lua, 1);
            if (end)
                break;
        }
    }
}

static void set_list(lua_State *lua, const char *name, const struct str *words, size_t count)
{
    lua_newtable(lua);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, words[i].data ? words[i].data : "", words[i].len);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setglobal(lua, name);
}

void sim_lua_run(struct sim_redis *redis, const char *script, size_t key_count,
                 const struct str *words, size_t count, struct sim_answer *ret)
{
    lua_State *lua = redis->lua;
    set_list(lua, "KEYS", words, key_count);
    set_list(lua, "ARGV", words + key_count, count - key_count);
    if (luaL_loadstring(lua, script) || lua_pcall(lua, 0, 1, 0)) {
        *ret = (struct sim_answer){0};
        sim_answer_fail(ret, lua_tostring(lua, -1));
    } else {
        take_answer(lua, ret);
    }
    lua_settop(lua, 0);
}

void sim_lua_open(struct sim_redis *redis)
{
    lua_State *lua = luaL_newstate();
    must(lua);
    luaL_openlibs(lua);
    lua_newtable(lua);
    lua_pushlightuserdata(lua, redis);
    lua_pushcclosure(lua, call, 1);
    lua_setfield(lua, -2, "call");
    lua_setglobal(lua, "redis");
    redis->lua = lua;
}

void sim_lua_close(struct sim_redis *redis)
{
    lua_close(redis->lua);
}
