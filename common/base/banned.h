/*
 * banned.h -- functions that have a better one in this house; using them does not compile.
 * Included by the build into every file of ours (see CMakeLists.txt), before anything else: the
 * system's own headers that name a banned word therefore come first, here.
 *
 *   strcpy strcat strncpy strncat   arena_str, buf_add
 *   sprintf vsprintf                snprintf, arena_printf, buf_printf
 *   strtok                          str_split
 *   atoi atol atof                  str_to_i64, str_to_f64
 *   gmtime localtime ctime          clock_format
 *   sleep usleep                    a timer of the loop
 *   gets                            nothing at all
 *
 * To ban another one: add it to both lists below and build with gcc and clang.
 */
#ifndef QUERN_COMMON_BASE_BANNED_H
#define QUERN_COMMON_BASE_BANNED_H

#ifndef __cplusplus
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
/* With _FORTIFY_SOURCE some of them are macros, and clang warns when a macro is poisoned. */
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gmtime localtime ctime
#pragma GCC poison sleep usleep gets atoi atol atof
#endif

#endif
