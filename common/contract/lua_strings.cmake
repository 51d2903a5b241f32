# Makes C strings of Lua scripts: cmake -DOUT=file.c "-DFILES=a.lua;b.lua" -P lua_strings.cmake
# Each script <name>.lua becomes `const char lua_<name>[]`, see redis_keys.h.
set(text "/* Made from schemas/lua by lua_strings.cmake. */\n#include \"common/contract/redis_keys.h\"\n")
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME_WE)
  file(READ "${file}" lua)
  string(REPLACE "\\" "\\\\" lua "${lua}")
  string(REPLACE "\"" "\\\"" lua "${lua}")
  string(REPLACE "\n" "\\n\"\n    \"" lua "${lua}")
  string(APPEND text "\nconst char lua_${name}[] =\n    \"${lua}\";\n")
endforeach()
file(WRITE "${OUT}" "${text}")
