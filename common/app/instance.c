/*
 * instance.c -- see instance.h. flock(2) on DIR/PROGRAM.BASE-N.lock; the kernel lets go of it when
 * the process dies, however it dies.
 */
#include "common/app/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/last_words.h"

static bool choose_dir(struct str dir, char *ret, size_t size, struct err *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (!str_empty(dir))
        snprintf(ret, size, STR_FMT, STR_ARG(dir));
    else if (runtime && access(runtime, W_OK) == 0)
        snprintf(ret, size, "%s/quern", runtime);
    else
        snprintf(ret, size, "/tmp/quern-%u", (unsigned)getuid());
    if (mkdir(ret, 0700) == 0 || errno == EEXIST)
        return true;
    err_set(err, ERR_CONFIG, "cannot make the lock folder '%s': %s", ret, strerror(errno));
    return false;
}

/* 1: ours now, 0: somebody holds it, -1: error. */
static int try_lock(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        err_set(err, ERR_CONFIG, "cannot open the lock file '%s': %s", path, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 1; /* the descriptor stays open, and with it the lock */
    close(fd);
    return 0;
}

bool instance_acquire(struct str dir, const char *program, struct str base, char *ret, size_t size,
                      struct err *err)
{
    char folder[256], host[128], path[512];
    if (!choose_dir(dir, folder, sizeof(folder), err))
        return false;
    if (gethostname(host, sizeof(host)) != 0)
        snprintf(host, sizeof(host), "localhost");
    host[sizeof(host) - 1] = '\0';
    if (str_empty(base))
        base = str_of(host);
    for (int n = 0; n < INSTANCES_MAX; n++) {
        snprintf(ret, size, STR_FMT "-%d", STR_ARG(base), n);
        snprintf(path, sizeof(path), "%s/%s.%s.lock", folder, program, ret);
        int taken = try_lock(path, err);
        if (taken < 0)
            return false;
        snprintf(path, sizeof(path), "%s/%s.%s.died", folder, program, ret);
        if (taken > 0)
            return last_words_open(path, err);
    }
    err_set(err, ERR_CONFIG, "%d instances of '%s' run on this host already", INSTANCES_MAX,
            program);
    return false;
}
