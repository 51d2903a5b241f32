/*
 * banned.h -- functions that have a better one in this house; using them does not compile.
 * Included by the build into every file of ours (see CMakeLists.txt).
 */
#ifndef QUERN_COMMON_BASE_BANNED_H
#define QUERN_COMMON_BASE_BANNED_H

#ifndef __cplusplus
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf strtok gmtime localtime ctime
#pragma GCC poison sleep usleep gets atoi atol atof
#endif

#endif
